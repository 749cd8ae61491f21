//! Client certificates that are refused although a client CA issued them.

pub(crate) mod deny_key;
pub(crate) mod deny_list;
pub(crate) mod revocations;
pub(crate) mod revoked_certificate;

//! The master key, sealed records and the program's own secrets.

pub(crate) mod audit_key;
pub(crate) mod kept_audit_key;
pub(crate) mod master_key;
pub(crate) mod master_key_id;
pub(crate) mod master_key_ring;
pub(crate) mod random;
pub(crate) mod sealing;
pub(crate) mod secret;

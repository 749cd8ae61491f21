//! From accept to an admitted connection whose client address is known.

pub(crate) mod admission;
pub(crate) mod client_address;
pub(crate) mod fair_shares;
pub(crate) mod incoming_proxy;
pub(crate) mod listener;

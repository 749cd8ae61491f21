//! The master key, sealed records and the program's own secrets.

#[cfg_attr(not(test), expect(dead_code, reason = "the chain of the audit comes next"))]
pub(crate) mod audit_key;
#[cfg_attr(not(test), expect(dead_code, reason = "the chain of the audit comes next"))]
pub(crate) mod kept_audit_key;
pub(crate) mod master_key;
pub(crate) mod master_key_id;
pub(crate) mod master_key_ring;
pub(crate) mod random;
pub(crate) mod sealing;
pub(crate) mod secret;

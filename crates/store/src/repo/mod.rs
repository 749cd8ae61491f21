//! One file per table: rows and SQL, reads of [`crate::Reader`], steps of [`crate::Tx`], and what
//! [`crate::Store`] does in a transaction of its own. The SQL of `secret` is in `sealed`.

pub(crate) mod alert;
pub(crate) mod alert_channel;
pub(crate) mod alert_delivery;
pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod audit_verification;
pub(crate) mod boundary;
pub(crate) mod broker_trouble;
pub(crate) mod client_ca_use;
pub(crate) mod crl;
pub(crate) mod deployment;
pub(crate) mod device;
pub(crate) mod device_total;
pub(crate) mod ending;
pub(crate) mod ending_counts;
pub(crate) mod expiry_marks;
pub(crate) mod feed;
pub(crate) mod first_expiries;
pub(crate) mod host;
pub(crate) mod host_suffix;
pub(crate) mod host_use;
pub(crate) mod issuer_path;
pub(crate) mod known_kind;
pub(crate) mod node;
pub(crate) mod node_process;
pub(crate) mod node_question;
pub(crate) mod offer_day;
pub(crate) mod project;
pub(crate) mod rekey;
pub(crate) mod request_log;
pub(crate) mod revocation;
pub(crate) mod secret;
pub(crate) mod status_counts;
pub(crate) mod upstream_claim;
pub(crate) mod version;

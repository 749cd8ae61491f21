//! Certificate revocation lists (RFC 5280 §5).
//!
//! A CRL is judged once, with its signature ([`judge_crl`]). What was accepted is stored, and
//! becomes a table of serial numbers ([`CrlTable`]) without being verified again.

mod certificate_list;
mod crl_entries;
mod crl_envelope;
mod crl_extensions;
mod crl_fault;
mod crl_judgement;
mod crl_number;
mod crl_scope;
mod crl_signer;
mod crl_table;
mod der_reader;
mod serial_table;
mod stale_policy;

pub use certificate_list::are_of_one_crl_series;
pub use crl_judgement::{CRL_BYTES_MAX, Crl, CrlCircumstances, CrlJudgement, judge_crl};
pub use crl_table::CrlTable;
pub(crate) use crl_table::{CertificateRole, SignedSerial};
pub use stale_policy::StalePolicy;

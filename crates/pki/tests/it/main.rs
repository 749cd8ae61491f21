//! The judgement of uploads, from outside: one program, to link fast, and a file per aspect.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its input has failed")]

mod catalogue;
mod chains;
mod client_certificates;
mod clients;
mod crl_judges;
mod crl_limbo;
mod crl_maker;
mod crl_properties;
mod crl_uploads;
mod crls;
mod device_certificates;
mod findings;
mod judge;
mod name_forms;
mod names;
mod offers;
mod openssl;
mod order;
mod passwords;
mod policies;
mod profiles;
mod properties;
mod revocations;
mod root_changes;
mod salts;
mod serving;
mod stage;
mod subjects;
mod text;
mod values;

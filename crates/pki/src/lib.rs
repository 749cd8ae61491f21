//! Text in, a checked [`Material`] and [`Finding`]s out.
//!
//! Material can be served: the chain links, the key fits the leaf, client trust has an anchor. No
//! I/O, no clock, no async: other input is in [`Circumstances`]. Start at [`judge`].

// First: its macro is for those below.
#[macro_use]
mod short_hash;

mod as_of;
mod authority_id;
mod bundle;
mod certificate;
mod chain;
mod circumstances;
mod client_certificate;
mod client_chain_judge;
mod client_offer;
mod client_refusal;
mod client_trust;
mod client_verifier;
mod code;
mod crl;
mod der;
mod describe;
mod device_certificate;
mod device_id;
mod device_identity;
mod display;
mod encrypted_key;
mod field;
mod finding;
mod fingerprint;
mod host_name;
mod intake;
mod issuer_path;
mod issuing_right;
mod key_form;
mod material;
mod name;
mod name_constraints;
mod no_entry_point;
mod normal_form;
mod normal_name;
mod normal_path;
mod offer_names;
mod offered_verification;
mod parsed_upload;
mod path_candidates;
mod pem;
mod policies;
mod private_key;
mod profile;
mod pss;
mod public_key;
mod public_suffix;
mod reading;
mod revocation;
mod root_change;
mod rules;
mod served_chain;
mod severity;
mod signed;
mod tbs;
mod text;
mod tls_type;
mod unserved_key;
mod upload;
mod validity;
mod version1;
mod webpki_refusal;
mod work;

pub use as_of::findings_as_of;
pub use authority_id::AuthorityId;
pub use bundle::{Bundle, BundleError};
pub use circumstances::{Circumstances, Replaced};
pub use client_certificate::{ClientCaNames, ClientCertificate, ClientCertificateFacts, NeededCa};
pub use client_chain_judge::ClientChainJudge;
pub use client_offer::{ClientOffer, OFFER_VALUES_MAX};
pub use client_refusal::ClientRefusal;
pub use client_trust::ClientTrust;
pub use client_verifier::ClientTrustError;
pub use code::{Code, CodeDoc, catalogue};
pub use crl::{
    CRL_BYTES_MAX, Crl, CrlCircumstances, CrlJudgement, CrlTable, StalePolicy, are_of_one_crl_series,
    judge_crl,
};
pub use describe::{CertificateFacts, describe, describe_name};
pub use device_certificate::DeviceCertificate;
pub use device_id::DeviceId;
pub use device_identity::{DeviceIdentity, IdentityRefused};
pub use display::is_control;
pub use finding::{Field, Finding, Item};
pub use fingerprint::fingerprint;
pub use host_name::{HostName, HostNameError};
pub use intake::{Judgement, judge};
pub use issuer_path::{IssuerPath, IssuerPathId};
pub use material::Material;
pub use no_entry_point::NoEntryPoint;
pub use normal_form::without_critical_policies;
pub use offer_names::{cipher_suite_name, named_group_name, signature_scheme_name, tls_version_name};
pub use private_key::PrivateKey;
pub use profile::Profile;
pub use public_key::KeyKind;
pub use revocation::deny_key::{DenyKey, DenyKeys};
pub use revocation::deny_list::DenyList;
pub use revocation::revocations::{PathCandidates, Revocations};
pub use revocation::revoked_certificate::{RevokedCertificate, UnreadableCertificate, shown_device_name};
pub use root_change::RootChange;
pub use rules::uncovered_hosts;
pub use served_chain::ServedChain;
pub use severity::Severity;
pub use tls_type::TlsType;
pub use upload::{KEEP, Text, Upload};
pub use validity::validity;

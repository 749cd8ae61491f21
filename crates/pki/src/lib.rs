//! Certificates as values.
//!
//! Text goes in; a [`Material`] that cannot be wrong, and [`Finding`]s that name every fault, come out.
//! This crate promises that whatever it hands out can be served: the chain links, the key fits the leaf,
//! the client trust has at least one anchor. It never does I/O, never reads a clock and is never async:
//! what it needs to know about the world stands in [`Circumstances`].
//!
//! Start reading at [`judge`].

mod bundle;
mod case;
mod certificate;
mod chain;
mod circumstances;
mod client_refusal;
mod client_trust;
mod client_verifier;
mod code;
mod der;
mod describe;
mod device_identity;
mod display;
mod encrypted_key;
mod field;
mod finding;
mod host_name;
mod intake;
mod issuing_right;
mod key_form;
mod material;
mod name;
mod name_constraints;
mod no_way_in;
mod normal_form;
mod normal_name;
mod normal_path;
mod pem;
mod policies;
mod private_key;
mod profile;
mod pss;
mod public_key;
mod public_suffix;
mod reading;
mod rules;
mod severity;
mod signed;
mod text;
mod tls_type;
mod unserved_key;
mod upload;
mod validity;
mod version1;
mod webpki_refusal;
mod work;

pub use bundle::{Bundle, BundleError};
pub use circumstances::Circumstances;
pub use client_refusal::ClientRefusal;
pub use client_trust::ClientTrust;
pub use client_verifier::ClientTrustError;
pub use code::{Code, CodeDoc, catalogue};
pub use describe::{CertificateFacts, describe};
pub use device_identity::{DeviceIdentity, IdentityRefused};
pub use display::is_control;
pub use finding::{Field, Finding, Item};
pub use host_name::{HostName, HostNameError};
pub use intake::{Judgement, judge};
pub use material::Material;
pub use no_way_in::NoWayIn;
pub use normal_form::without_critical_policies;
pub use private_key::PrivateKey;
pub use profile::Profile;
pub use public_key::KeyKind;
pub use severity::Severity;
pub use tls_type::TlsType;
pub use upload::{Text, Upload};
pub use validity::validity;

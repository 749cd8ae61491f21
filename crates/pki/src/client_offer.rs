use serde::{Deserialize, Serialize};

/// What a ClientHello offers, as far as it decides what the client can be served with.
///
/// Code points as in the IANA registries; each list is sorted, without duplicates and without
/// GREASE values (RFC 8701), and has at most [`OFFER_VALUES_MAX`] entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientOffer {
    /// TLS versions: `supported_versions`, else the hello's own (RFC 8446 §4.2.1).
    pub versions: Vec<u16>,
    /// `signature_algorithms` (RFC 8446 §4.2.3).
    pub signature_schemes: Vec<u16>,
    /// `signature_algorithms_cert`; empty: as `signature_schemes`.
    pub certificate_schemes: Vec<u16>,
    /// `supported_groups` (RFC 8446 §4.2.7).
    pub groups: Vec<u16>,
    /// Cipher suites.
    pub cipher_suites: Vec<u16>,
    /// Plaintext bytes per record, if limited (RFC 8449, RFC 6066 §4).
    pub record_bytes: Option<u16>,
    /// Whether it sends SNI.
    pub has_server_name: bool,
}

/// Entries kept of each list of an offer.
pub const OFFER_VALUES_MAX: usize = 64;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who presents a certificate. The wire names are contract, and match exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsType {
    /// Only the server presents a certificate.
    OneWay,
    /// The client must present a certificate of one of the client CAs.
    TwoWay,
}

impl TlsType {
    /// Both types.
    pub const ALL: [Self; 2] = [Self::OneWay, Self::TwoWay];

    /// Parses the wire name, case-sensitive.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tls_type| tls_type.as_str() == text)
    }

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneWay => "one-way",
            Self::TwoWay => "two-way",
        }
    }
}

impl fmt::Display for TlsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

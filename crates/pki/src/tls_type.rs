use std::fmt;

use serde::{Deserialize, Serialize};

/// Who proves an identity in the handshake: the server alone, or the client as well.
///
/// The wire names are matched exactly (`CONTRACT`: `one-way`, `two-way`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsType {
    /// Only the server presents a certificate.
    OneWay,
    /// The client must present a certificate that chains to one of the deployment's client CAs.
    TwoWay,
}

impl TlsType {
    /// Reads the wire name; `None` for anything else, also for other spellings of case.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "one-way" => Some(Self::OneWay),
            "two-way" => Some(Self::TwoWay),
            _ => None,
        }
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

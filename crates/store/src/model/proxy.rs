use std::fmt;

use certward_pki::DeviceIdentity;

/// What a deployment's broker is told of a connection, before its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Whether, and in which dialect.
    pub protocol: ProxyProtocol,
    /// What is told as the device's name.
    pub identity: DeviceIdentity,
}

/// The PROXY protocol, version 2, in the dialects of brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// Nothing is told.
    #[default]
    None,
    /// All that there is to tell.
    V2,
    /// What EMQX reads: version of TLS and the device's name.
    Emqx,
    /// What Mosquitto reads, in at most 500 bytes.
    Mosquitto,
}

impl ProxyProtocol {
    /// Every dialect.
    pub const ALL: [Self; 4] = [Self::None, Self::V2, Self::Emqx, Self::Mosquitto];

    /// Reads the wire name; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == text)
    }

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::V2 => "v2",
            Self::Emqx => "emqx",
            Self::Mosquitto => "mosquitto",
        }
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

use std::fmt;

use certward_pki::DeviceIdentity;

/// The PROXY protocol header sent to a deployment's broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// The dialect, if any.
    pub protocol: ProxyProtocol,
    /// The device's name in the header.
    pub identity: DeviceIdentity,
}

/// PROXY protocol version 2, in brokers' dialects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// No header.
    #[default]
    None,
    /// Every field.
    V2,
    /// EMQX's fields: the TLS version and the device's name.
    Emqx,
    /// Mosquitto's fields, in at most 500 bytes.
    Mosquitto,
}

impl ProxyProtocol {
    /// Every dialect.
    pub const ALL: [Self; 4] = [Self::None, Self::V2, Self::Emqx, Self::Mosquitto];

    /// Reads the wire name.
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

use std::{fmt, net::SocketAddr};

use serde::Serialize;
use thiserror::Error;

/// A plain TCP address, `HOST:PORT`: a name or address (IPv6 in brackets), and a port from 1 to
/// 65535.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Upstream(Box<str>);

/// Why a text is no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpstreamError {
    /// Not `HOST:PORT`.
    #[error("it must be HOST:PORT, an IPv6 address in brackets")]
    Form,
    /// An invalid port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl Upstream {
    /// Reads `HOST:PORT`. Every dial resolves and checks it.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let (host, port) = text.rsplit_once(':').ok_or(UpstreamError::Form)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(UpstreamError::Port);
        }
        let valid = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
            None => {
                !host.is_empty()
                    && host.len() <= 253
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            }
        };
        if valid { Ok(Self(text.into())) } else { Err(UpstreamError::Form) }
    }

    /// `HOST:PORT`, as [`std::net::ToSocketAddrs`] and tokio read it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, unless it is a name.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }

    /// In any notation.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        match (self.socket_address(), other.socket_address()) {
            (Some(one), Some(two)) => one == two,
            (None, None) => {
                let (one, two) = (self.host_and_port(), other.host_and_port());
                one.0.eq_ignore_ascii_case(two.0) && one.1 == two.1
            }
            _ => false,
        }
    }

    /// The canonical text: lower case, no trailing dot, no mapped IPv4 address, no leading zeros.
    /// Names may have aliases.
    pub fn claimed(&self) -> String {
        match self.socket_address() {
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).to_string(),
            None => {
                let (host, port) = self.host_and_port();
                format!("{}:{port}", host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
            }
        }
    }

    fn host_and_port(&self) -> (&str, &str) {
        let (host, port) = self.0.rsplit_once(':').unwrap_or((&self.0, ""));
        (host, port.trim_start_matches('0'))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_claimed_by_one_text_however_it_is_written() {
        for (text, claimed) in [
            ("Broker.Example.:01883", "broker.example:1883"),
            ("broker.example:1883", "broker.example:1883"),
            ("10.0.0.1:1883", "10.0.0.1:1883"),
            ("[::ffff:10.0.0.1]:1883", "10.0.0.1:1883"),
            ("[FD00:0::1]:1883", "[fd00::1]:1883"),
        ] {
            assert_eq!(Upstream::parse(text).unwrap().claimed(), claimed, "{text}");
        }
    }
}

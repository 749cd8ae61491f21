use std::fmt;

use certward_pki::HostName;
use serde::Serialize;
use thiserror::Error;

use crate::{DeploymentId, Generation, ProjectId, Timestamp, TlsState};

/// One broker and the hosts that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// For people; may be empty.
    pub name: String,
    /// The broker's plain MQTT address.
    pub upstream: Upstream,
    /// The broker's plain WebSocket address, if it has one.
    pub ws_upstream: Option<Upstream>,
    /// The names that lead here by SNI, in the order given.
    pub hosts: Vec<HostName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows with every change of it, also of its hosts.
    pub generation: Generation,
    /// Where its certificate stands.
    pub tls: TlsState,
}

/// A plain TCP address, `HOST:PORT`, that the gateway relays to: a name or an address (IPv6 in brackets), and a
/// port from 1 to 65535.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Upstream(Box<str>);

/// Why a text is no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpstreamError {
    /// Not of the form `HOST:PORT`.
    #[error("it must be HOST:PORT, an IPv6 address in brackets")]
    Form,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl Upstream {
    /// Reads `HOST:PORT`. The host is not resolved here: that is done, and checked, at every connect.
    ///
    /// # Errors
    /// [`UpstreamError`] says which rule it breaks.
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

    /// `HOST:PORT`, as [`std::net::ToSocketAddrs`] and tokio's look-up read it.
    pub fn as_str(&self) -> &str {
        &self.0
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

use rustls::pki_types::ServerName;

use crate::{cli::InspectArgs, usage::UsageError};

/// Of a deployment; each costs up to nine handshakes.
pub(super) const HOSTS_MAX: usize = 8;

/// Where certward's devices connect to by default.
const DEVICE_PORT: u16 = 8883;

/// Where to connect to, and the name to ask for.
#[derive(Debug, PartialEq)]
pub(super) struct InspectedEndpoint {
    pub(super) host: String,
    pub(super) port: u16,
    /// Sent as SNI; `None`: none is sent.
    pub(super) server_name: Option<String>,
}

impl InspectedEndpoint {
    /// `HOST:PORT`, with the host as the name unless it is an address.
    pub(super) fn at_address(args: &InspectArgs) -> Result<Self, UsageError> {
        let (host, port) = address(args.at.as_deref().unwrap_or(&args.target))?;
        let (asked, _) = address(&args.target)?;
        let name = args.server_name.clone().unwrap_or(asked);
        let server_name = match server_name(&name)? {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        };
        Ok(Self { host, port, server_name })
    }

    /// A wildcard is asked for by a name that it covers.
    pub(super) fn of_host(host: &str, at: Option<&str>) -> Result<Self, UsageError> {
        let name = match host.strip_prefix("*.") {
            Some(rest) => format!("certward-inspect.{rest}"),
            None => host.to_owned(),
        };
        server_name(&name)?;
        let (host, port) = at.map_or_else(|| Ok((name.clone(), DEVICE_PORT)), address)?;
        Ok(Self { host, port, server_name: Some(name) })
    }

    pub(super) fn without_name(at: &str) -> Result<Self, UsageError> {
        let (host, port) = address(at)?;
        Ok(Self { host, port, server_name: None })
    }

    /// Such as `localhost:8883`.
    pub(super) fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The name that the certificate has to cover: without SNI that of the address.
    pub(super) fn verified_name(&self) -> Option<ServerName<'static>> {
        let name = self.server_name.as_ref().unwrap_or(&self.host);
        ServerName::try_from(name.clone()).ok()
    }
}

/// `HOST:PORT`, `[IPv6]:PORT`.
fn address(text: &str) -> Result<(String, u16), UsageError> {
    let wrong = || UsageError::new(format!("{text:?} is no address: write HOST:PORT, or [IPV6]:PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(Some(inner)) => inner,
        Some(None) => return Err(wrong()),
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    server_name(host).map_err(|_| wrong())?;
    Ok((host.to_owned(), port))
}

fn server_name(name: &str) -> Result<ServerName<'static>, UsageError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| UsageError::new(format!("{name:?} is no DNS name and no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (text, read) in [
            ("localhost:8883", Some(("localhost", 8883))),
            ("192.0.2.7:1", Some(("192.0.2.7", 1))),
            ("[2001:db8::1]:443", Some(("2001:db8::1", 443))),
            ("2001:db8::1:443", None),
            ("[2001:db8::1:443", None),
            ("localhost:", None),
            ("localhost:70000", None),
            (":8883", None),
            ("a b:8883", None),
        ] {
            let found = address(text).ok();
            assert_eq!(found, read.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn a_host_is_asked_for_by_a_name_it_covers() {
        let endpoint = |host, at| InspectedEndpoint::of_host(host, at).unwrap();
        let of = |host: &str, port, name: &str| InspectedEndpoint {
            host: host.to_owned(),
            port,
            server_name: Some(name.to_owned()),
        };
        assert_eq!(endpoint("a.example", None), of("a.example", 8883, "a.example"));
        assert_eq!(
            endpoint("*.a.example", Some("127.0.0.1:1")),
            of("127.0.0.1", 1, "certward-inspect.a.example")
        );
    }
}

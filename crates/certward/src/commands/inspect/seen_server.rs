//! What a server serves at an endpoint, found by a few handshakes.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use certward_gateway::HandshakeRecord;
use rustls::{
    NamedGroup, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

use super::{
    handshake::{Handshake, HandshakeFailed, shake},
    inspected_endpoint::InspectedEndpoint,
};

/// Each may take a connection's time-out.
const ADDRESSES_MAX: usize = 4;

/// What was seen.
pub(super) struct SeenServer {
    pub(super) address: SocketAddr,
    /// Newest first; not empty.
    pub(super) versions: Vec<ServedVersion>,
    /// Of the newest version.
    pub(super) record: HandshakeRecord,
}

pub(super) struct ServedVersion {
    pub(super) version: &'static str,
    /// Those that a client of today knows; what the server prefers is first.
    pub(super) suites: Vec<SupportedCipherSuite>,
    pub(super) group: Option<NamedGroup>,
}

/// At the first address that can be connected to, as devices do it.
///
/// # Errors
/// One sentence: no address, or no handshake of any version.
pub(super) fn look(
    endpoint: &InspectedEndpoint,
    provider: &Arc<CryptoProvider>,
) -> Result<SeenServer, String> {
    let name = endpoint.verified_name().ok_or("the host is no name and no address")?;
    let has_sni = endpoint.server_name.is_some();
    let mut unconnected = format!("{} has no address here", endpoint.host);
    for address in addresses(endpoint)? {
        let server = InspectedServer { address, name: name.clone(), has_sni, provider };
        match server.look() {
            Ok(seen) => return Ok(seen),
            Err(error @ HandshakeFailed::Unconnected(_)) => unconnected = error.to_string(),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(unconnected)
}

fn addresses(endpoint: &InspectedEndpoint) -> Result<Vec<SocketAddr>, String> {
    let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
    let found = found.map_err(|error| format!("{} has no address here: {error}", endpoint.host))?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

struct InspectedServer<'a> {
    address: SocketAddr,
    name: ServerName<'static>,
    has_sni: bool,
    provider: &'a Arc<CryptoProvider>,
}

impl InspectedServer<'_> {
    fn look(&self) -> Result<SeenServer, HandshakeFailed> {
        let mut seen = self.version(&TLS13, "1.3");
        match (&mut seen, self.version(&TLS12, "1.2")) {
            (Ok(seen), Ok(older)) => seen.versions.extend(older.versions),
            // That of TLS 1.3 is said if neither is served.
            (Ok(_), Err(_)) | (Err(_), Err(_)) => {}
            (seen, older) => *seen = older,
        }
        seen
    }

    fn version(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: &'static str,
    ) -> Result<SeenServer, HandshakeFailed> {
        let first = self.shake(version, self.provider)?;
        let (Some(preferred), true) = (first.suite, !first.record.chain.is_empty()) else {
            return Err(first.end.err().unwrap_or(HandshakeFailed::Closed));
        };
        let mut suites = vec![preferred];
        for other in self.provider.cipher_suites.iter().filter(|other| could_be_served(**other, preferred)) {
            let alone =
                CryptoProvider { cipher_suites: vec![*other], ..CryptoProvider::clone(self.provider) };
            let seen = self.shake(version, &Arc::new(alone));
            if seen.is_ok_and(|seen| !seen.record.chain.is_empty()) {
                suites.push(*other);
            }
        }
        let versions = vec![ServedVersion { version: shown, suites, group: first.group }];
        Ok(SeenServer { address: self.address, versions, record: first.record })
    }

    fn shake(
        &self,
        version: &'static SupportedProtocolVersion,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Handshake, HandshakeFailed> {
        shake(self.address, &self.name, self.has_sni, version, provider)
    }
}

/// Of the same version, and for the same kind of key: others would be handshakes that fail, and are
/// listed as such by the server.
fn could_be_served(suite: SupportedCipherSuite, preferred: SupportedCipherSuite) -> bool {
    match (suite, preferred) {
        _ if suite == preferred => false,
        (SupportedCipherSuite::Tls13(_), SupportedCipherSuite::Tls13(_)) => true,
        (SupportedCipherSuite::Tls12(suite), SupportedCipherSuite::Tls12(preferred)) => {
            suite.sign == preferred.sign
        }
        _ => false,
    }
}

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
};

use certward_test_support::AnyServer;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SignatureScheme, StreamOwned,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::{Authority, Leaf, Packet, connect_from};

/// A device: trust anchors, identity and TLS settings. No resumption by default.
#[derive(Debug, Clone)]
pub struct Device {
    roots: Vec<Vec<u8>>,
    identity: Option<Leaf>,
    version: Option<&'static rustls::SupportedProtocolVersion>,
    resumption: bool,
    any_server: bool,
    address: Option<IpAddr>,
    provider: Option<CryptoProvider>,
    config: Option<Arc<ClientConfig>>,
}

/// A device's connection after the handshake.
#[derive(Debug)]
pub struct Session {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Device {
    /// A device that trusts one authority.
    pub fn trusting(authority: &Authority) -> Self {
        Self::trusting_der(authority.der())
    }

    /// A device that trusts one root (DER).
    pub fn trusting_der(root: &[u8]) -> Self {
        Self {
            roots: vec![root.to_vec()],
            identity: None,
            version: None,
            resumption: false,
            any_server: false,
            address: None,
            provider: None,
            config: None,
        }
    }

    /// Accepts any server certificate if the handshake signature verifies.
    pub fn trusting_anyone() -> Self {
        Self { any_server: true, ..Self::trusting_der(&[]) }
    }

    /// The same with a client certificate.
    #[must_use]
    pub fn with_identity(mut self, identity: &Leaf) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// The same with TLS 1.2 only.
    #[must_use]
    pub fn with_tls12(mut self) -> Self {
        self.version = Some(&TLS12);
        self
    }

    /// The same with TLS 1.3 only.
    #[must_use]
    pub fn with_tls13(mut self) -> Self {
        self.version = Some(&TLS13);
        self
    }

    /// The same from a local address (all of 127.0.0.0/8).
    #[must_use]
    pub fn at(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The same, of an old library: it verifies signatures of RSA keys only, and says so.
    #[must_use]
    pub fn verifying_rsa_only(self) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        let algorithms = &mut provider.signature_verification_algorithms;
        let is_rsa = |scheme: SignatureScheme| format!("{scheme:?}").starts_with("RSA_");
        let mapping: Vec<_> =
            algorithms.mapping.iter().copied().filter(|(scheme, _)| is_rsa(*scheme)).collect();
        let all: Vec<_> = mapping.iter().flat_map(|(_, algorithms)| algorithms.iter().copied()).collect();
        // Once for each device of a test.
        *algorithms = WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() };
        self.with_provider(provider)
    }

    #[must_use]
    pub(crate) fn with_provider(mut self, provider: CryptoProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The same with session tickets.
    #[must_use]
    pub fn with_resumption(mut self) -> Self {
        self.resumption = true;
        self.config = Some(self.build());
        self
    }

    /// Completes the client's side. In TLS 1.3 a server reports a refused client certificate later.
    ///
    /// # Errors
    ///
    /// Of the network or TLS.
    pub fn handshake(&self, address: SocketAddr, sni: &str) -> io::Result<Session> {
        let config = self.config();
        let name = ServerName::try_from(sni.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let tcp = connect_from(self.address, address)?;
        let mut session = Session { stream: StreamOwned::new(tls, tcp) };
        while session.stream.conn.is_handshaking() {
            session.stream.conn.complete_io(&mut session.stream.sock)?;
        }
        Ok(session)
    }

    /// Connects up to the broker's CONNACK.
    ///
    /// # Errors
    ///
    /// Of the network, TLS or MQTT.
    pub fn connect(&self, address: SocketAddr, sni: &str, client_id: &str) -> io::Result<Session> {
        let mut session = self.handshake(address, sni)?;
        session.exchange(&Packet::connect(client_id), &Packet::CONNACK)?;
        Ok(session)
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone().unwrap_or_else(|| self.build())
    }

    fn build(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(self.provider.clone().unwrap_or_else(aws_lc_rs::default_provider));
        let versions = match self.version {
            Some(version) => vec![version],
            None => vec![&TLS13, &TLS12],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .expect("versions that the provider has");
        let builder = if self.any_server {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            for root in &self.roots {
                roots.add(CertificateDer::from(root.clone())).expect("a root certificate");
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_webpki_verifier(verifier.expect("a verifier"))
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = std::iter::once(&leaf.der).chain(&leaf.intermediates);
                let chain = chain.map(|der| CertificateDer::from(der.clone())).collect();
                // `with_client_auth_cert` refuses version 1 and a certificate with another key,
                // which the server under test must judge.
                let key = aws_lc_rs::sign::any_supported_type(&leaf.private_key()).expect("a key");
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
                    chain, key,
                ))))
            }
        };
        if !self.resumption {
            config.resumption = Resumption::disabled();
        }
        Arc::new(config)
    }
}

impl Session {
    /// The server's leaf (DER).
    pub fn leaf(&self) -> &[u8] {
        &self.stream.conn.peer_certificates().expect("a server certificate")[0]
    }

    /// Number of certificates that the server sent.
    pub fn chain_length(&self) -> usize {
        self.stream.conn.peer_certificates().map_or(0, <[_]>::len)
    }

    /// Whether the session was resumed.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The local address.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.sock.local_addr().expect("a connected socket")
    }

    /// The TLS version.
    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.stream.conn.protocol_version()
    }

    /// The ALPN protocol.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.stream.conn.alpn_protocol()
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// If the connection has closed.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    ///
    /// If the connection closes before.
    pub fn receive(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends a packet and reads the expected answer.
    ///
    /// # Errors
    ///
    /// On another answer or none.
    pub fn exchange(&mut self, packet: &Packet, answer: &[u8]) -> io::Result<()> {
        self.send(packet.bytes())?;
        let got = self.receive(answer.len())?;
        if got == answer {
            Ok(())
        } else {
            Err(io::Error::other(format!("{got:02x?} instead of {answer:02x?}")))
        }
    }

    /// Sends a ping to the broker and waits for the answer.
    ///
    /// # Errors
    ///
    /// Without one.
    pub fn ping(&mut self) -> io::Result<()> {
        self.exchange(&Packet::ping(), &Packet::PINGRESP)
    }

    /// Whether the peer closes with close_notify.
    ///
    /// # Errors
    ///
    /// On a timeout, or if data arrives.
    pub fn wait_closed(&mut self) -> io::Result<bool> {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => Ok(true),
            Ok(length) => Err(io::Error::other(format!("{length} bytes instead of an end"))),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(error)
            }
            Err(_) => Ok(false),
        }
    }

    /// Reads what has arrived, up to the buffer's size.
    ///
    /// # Errors
    ///
    /// If the connection closed without close_notify.
    pub fn read_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

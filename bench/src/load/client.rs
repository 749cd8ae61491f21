use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use certward_tests::{Leaf, Packet};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, aws_lc_rs::kx_group},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::Handshake;

#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) sni: String,
    /// The expected leaf (DER).
    pub(crate) leaf: Option<Vec<u8>>,
    pub(crate) tls: bool,
}

/// Connects repeatedly, with sessions of its own.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    sni: ServerName<'static>,
    tls: Option<TlsConnector>,
    nodelay: bool,
}

pub(crate) struct Session {
    pub(crate) stream: Either<TlsStream<TcpStream>, TcpStream>,
}

impl Client {
    /// `identity` is the client certificate.
    pub(crate) fn new(endpoint: &Endpoint, handshake: Handshake, identity: Option<&Leaf>) -> Result<Self> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = match handshake {
            Handshake::Hybrid => vec![kx_group::X25519MLKEM768, kx_group::X25519],
            // In TLS 1.2 the groups also limit a server's certificates (RFC 8422 §5.1.1).
            Handshake::Tls12 => vec![kx_group::X25519, kx_group::SECP256R1],
            _ => vec![kx_group::X25519],
        };
        let provider = Arc::new(provider);
        let version = if handshake == Handshake::Tls12 { &TLS12 } else { &TLS13 };
        let verifier = Arc::new(ShownLeaf { leaf: endpoint.leaf.clone(), provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder.with_client_auth_cert(
                vec![CertificateDer::from(leaf.der.clone())],
                PrivatePkcs8KeyDer::from(leaf.key_der.clone()).into(),
            )?,
        };
        if handshake != Handshake::Resumed {
            config.resumption = Resumption::disabled();
        }
        let sni = ServerName::try_from(endpoint.sni.clone())?;
        let tls = endpoint.tls.then(|| TlsConnector::from(Arc::new(config)));
        Ok(Self { address: endpoint.address, sni, tls, nodelay: true })
    }

    /// With Nagle's algorithm, the default of most MQTT libraries.
    pub(crate) fn with_nagle(self) -> Self {
        Self { nodelay: false, ..self }
    }

    pub(crate) async fn handshake(&self) -> Result<Session> {
        let tcp = TcpStream::connect(self.address).await.context("no TCP connection")?;
        tcp.set_nodelay(self.nodelay)?;
        let stream = match &self.tls {
            Some(tls) => Either::Left(tls.connect(self.sni.clone(), tcp).await.context("no handshake")?),
            None => Either::Right(tcp),
        };
        Ok(Session { stream })
    }

    pub(crate) async fn connect(&self) -> Result<Session> {
        let mut session = self.handshake().await?;
        session.connect().await?;
        Ok(session)
    }
}

impl Session {
    pub(crate) async fn connect(&mut self) -> Result<()> {
        // A broker ends an older session of the same id.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("bench-{:08x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.stream.write_all(Packet::connect(&id).bytes()).await?;
        let mut answer = [0; Packet::CONNACK.len()];
        self.stream.read_exact(&mut answer).await.context("no CONNACK")?;
        ensure!(answer == Packet::CONNACK, "{answer:02x?} instead of CONNACK");
        Ok(())
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.tls().and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn leaf(&self) -> &[u8] {
        let shown = self.tls().and_then(|tls| tls.peer_certificates()).and_then(<[_]>::first);
        shown.map(AsRef::as_ref).unwrap_or_default()
    }

    fn tls(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Either::Left(tls) => Some(tls.get_ref().1),
            Either::Right(_) => None,
        }
    }

    pub(crate) async fn close(mut self) {
        // Ignored: the peer may have closed.
        let _ = self.stream.shutdown().await;
    }

    /// Like a device: DISCONNECT, close_notify, and the peer's close, so that its work is done.
    pub(crate) async fn end(mut self) {
        // Ignored: not measured.
        let _ = self.stream.write_all(&[0xe0, 0]).await;
        let _ = self.stream.shutdown().await;
        let mut rest = [0; 256];
        while matches!(self.stream.read(&mut rest).await, Ok(length) if length > 0) {}
    }
}

/// Verifies no signature: on the generator's core it would take the broker's time, and the tests
/// verify it.
#[derive(Debug)]
struct ShownLeaf {
    leaf: Option<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ShownLeaf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.leaf {
            Some(leaf) if leaf.as_slice() != end_entity.as_ref() => {
                Err(rustls::Error::General("another certificate is shown".into()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

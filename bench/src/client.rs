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

use crate::test::Handshake;

/// Where a client connects, and what it must find there.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) sni: String,
    /// The certificate that must be shown (DER); none: whatever is shown.
    pub(crate) leaf: Option<Vec<u8>>,
    /// False where plain TCP is relayed.
    pub(crate) tls: bool,
}

/// A client that makes one connection after the other. Sessions, where it resumes them, are its own.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    sni: ServerName<'static>,
    tls: Option<TlsConnector>,
    nodelay: bool,
}

/// A connection through which an MQTT session stands.
pub(crate) struct Session {
    pub(crate) stream: Either<TlsStream<TcpStream>, TcpStream>,
}

impl Client {
    /// A client for one kind of handshake; `identity` is its own certificate.
    pub(crate) fn new(door: &Door, handshake: Handshake, identity: Option<&Leaf>) -> Result<Self> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = match handshake {
            Handshake::Hybrid => vec![kx_group::X25519MLKEM768, kx_group::X25519],
            // In TLS 1.2 the groups also say which certificates a client takes (RFC 8422 §5.1.1).
            Handshake::Tls12 => vec![kx_group::X25519, kx_group::SECP256R1],
            _ => vec![kx_group::X25519],
        };
        let provider = Arc::new(provider);
        let version = if handshake == Handshake::Tls12 { &TLS12 } else { &TLS13 };
        let verifier = Arc::new(ShownLeaf { leaf: door.leaf.clone(), provider: Arc::clone(&provider) });
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
        let sni = ServerName::try_from(door.sni.clone())?;
        let tls = door.tls.then(|| TlsConnector::from(Arc::new(config)));
        Ok(Self { address: door.address, sni, tls, nodelay: true })
    }

    /// The same client with Nagle's algorithm on, as most MQTT libraries leave it.
    pub(crate) fn with_nagle(self) -> Self {
        Self { nodelay: false, ..self }
    }

    /// The handshake alone.
    pub(crate) async fn handshake(&self) -> Result<Session> {
        let tcp = TcpStream::connect(self.address).await.context("no TCP connection")?;
        tcp.set_nodelay(self.nodelay)?;
        let stream = match &self.tls {
            Some(tls) => Either::Left(tls.connect(self.sni.clone(), tcp).await.context("no handshake")?),
            None => Either::Right(tcp),
        };
        Ok(Session { stream })
    }

    /// The handshake, CONNECT, and the broker's CONNACK.
    pub(crate) async fn connect(&self) -> Result<Session> {
        let mut session = self.handshake().await?;
        session.connect().await?;
        Ok(session)
    }
}

impl Session {
    /// CONNECT, and the broker's CONNACK.
    pub(crate) async fn connect(&mut self) -> Result<()> {
        // A broker ends the session of another client that has the same id.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("bench-{:08x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.stream.write_all(Packet::connect(&id).bytes()).await?;
        let mut answer = [0; Packet::CONNACK.len()];
        self.stream.read_exact(&mut answer).await.context("no CONNACK")?;
        ensure!(answer == Packet::CONNACK, "{answer:02x?} instead of CONNACK");
        Ok(())
    }

    /// Whether it took up an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls().and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// The certificate that was shown (DER).
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

    /// Ends TLS and leaves.
    pub(crate) async fn close(mut self) {
        // The other side may be gone already.
        let _ = self.stream.shutdown().await;
    }

    /// Ends it as a device does: DISCONNECT, close_notify, and waits for the other side's end, so that its work is over.
    pub(crate) async fn end(mut self) {
        // What stands between is the server's farewell, and how it ends is not what is measured.
        let _ = self.stream.write_all(&[0xe0, 0]).await;
        let _ = self.stream.shutdown().await;
        let mut rest = [0; 256];
        while matches!(self.stream.read(&mut rest).await, Ok(length) if length > 0) {}
    }
}

/// Takes the certificate that is expected and verifies no signature: on the generator's core that would only take the
/// broker's time. That the server has the key is seen elsewhere, by the tests.
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

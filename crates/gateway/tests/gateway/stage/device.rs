use std::{io, net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, kx_group},
    },
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Authority, CONNECT, Connection, Leaf, ticket_store::OneDrawer};

/// With its session tickets.
#[derive(Clone)]
pub(crate) struct Device(Arc<ClientConfig>);

pub(crate) const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
pub(crate) const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

impl Device {
    pub(crate) fn trusting(ca: &Authority) -> Self {
        Self::new(ca, None, &[TLS13, TLS12])
    }

    pub(crate) fn new(
        ca: &Authority,
        identity: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::trusting_der(ca.der(), identity, versions)
    }

    pub(crate) fn trusting_der(
        ca: &[u8],
        identity: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::with_provider(ca, identity, versions, rustls::crypto::aws_lc_rs::default_provider())
    }

    /// Offers an unsupported TLS 1.3 group first, for a HelloRetryRequest.
    pub(crate) fn asked_again(ca: &Authority) -> Self {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = vec![kx_group::MLKEM768, kx_group::X25519];
        Self::with_provider(ca.der(), None, &[TLS13], provider)
    }

    fn with_provider(
        ca: &[u8],
        identity: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
        provider: CryptoProvider,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(ca.into()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = std::iter::once(&leaf.der).chain(&leaf.intermediates);
                let chain = chain.map(|der| der.clone().into()).collect();
                // Unchecked: a device may have the key of another certificate.
                let key = aws_lc_rs::sign::any_supported_type(&leaf.private_key()).unwrap();
                let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        Self(Arc::new(config))
    }

    pub(crate) fn without_sni(&self) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.enable_sni = false;
        Self(Arc::new(config))
    }

    /// Offers its tickets to any server.
    pub(crate) fn with_one_drawer(&self) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.resumption = Resumption::store(Arc::new(OneDrawer::new()));
        Self(Arc::new(config))
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    pub(crate) async fn connect(&self, to: SocketAddr, name: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Ok(Connection(TlsConnector::from(self.config()).connect(name, stream).await?))
    }

    /// Only an echo shows that a two-way handshake succeeded.
    pub(crate) async fn talk(&self, to: SocketAddr, name: &str) -> io::Result<Connection> {
        self.talk_as(to, name, CONNECT).await
    }

    /// With this first packet.
    pub(crate) async fn talk_as(&self, to: SocketAddr, name: &str, first: &[u8]) -> io::Result<Connection> {
        let mut connection = self.connect(to, name).await?;
        connection.echo(first).await?;
        Ok(connection)
    }
}

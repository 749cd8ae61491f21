//! The test bed: a gateway, brokers, devices and certificate authorities.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use certward_gateway::{Deadlines, Gateway, Listener, NodeReplica, Protocol, Settings};
use certward_lifecycle::{Lifecycle, NewDeployment, Status, SystemEntropy, TlsView};
use certward_pki::{HostName, Text, Upload};
use certward_store::{
    Address, ApiKey, Clock, DeploymentId, DeploymentRef, DeploymentSpec, MasterKey, NodeId, Replica, Store,
    SystemClock, Timestamp, UpstreamList,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
    },
    crypto::{CryptoProvider, aws_lc_rs::kx_group},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
};
use sqlx::Connection as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub(crate) const CONNECT: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03abc";
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The machine's clock with an offset.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) addresses: Vec<SocketAddr>,
    /// The store uses the machine's.
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) metrics: Arc<Mutex<prometheus_client::registry::Registry>>,
    pub(crate) admin: ApiKey,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    folder: tempfile::TempDir,
}

/// A shared `mqtts` and a shared `wss` listener on free ports.
pub(crate) fn settings() -> Settings {
    Settings {
        listeners: vec![Listener::shared(any(), Protocol::Mqtts), Listener::shared(any(), Protocol::Wss)],
        deadlines: Deadlines {
            close: Duration::from_millis(500),
            drain: Duration::from_millis(100),
            ..Deadlines::default()
        },
        ..Settings::default()
    }
}

pub(crate) fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn id(text: &str) -> DeploymentId {
    DeploymentId::parse(text).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::build(settings, false).await
    }

    /// With a replica, in sync from the start.
    pub(crate) async fn keeping(settings: Settings) -> Self {
        let world = Self::build(settings, true).await;
        eventually("the snapshot is whole", || async {
            world.metric("certward_gateway_snapshot_whole ") == 1
        })
        .await;
        world
    }

    async fn build(settings: Settings, keeping: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::<ShiftedClock>::default();
        let address = Address::Embedded(folder.path().to_owned());
        let store = Store::init(&address, &master_key(), Arc::new(SystemClock)).await.unwrap();
        let (admin, _) = Lifecycle::create_first_key(&store).await.unwrap();
        let mut metrics = prometheus_client::registry::Registry::default();
        let node = NodeId::parse("node-1").unwrap();
        let replica = Replica::at(folder.path(), &master_key());
        let replica = keeping.then_some(NodeReplica { replica, mark: None });
        let entropy = Arc::new(SystemEntropy);
        let gateway = Gateway::new(settings, node, clock.clone(), entropy, replica, &mut metrics).unwrap();
        let lifecycle = lifecycle_of(&gateway, store);
        let bound = gateway.bind().unwrap();
        let addresses = bound.addresses();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let (lifecycle, shutdown) = (lifecycle.clone(), shutdown.clone());
            async move { bound.run(lifecycle, shutdown).await.unwrap() }
        });
        let metrics = Arc::new(Mutex::new(metrics));
        let world = Self {
            gateway,
            lifecycle,
            addresses,
            clock,
            metrics,
            admin: admin.key,
            shutdown,
            running,
            folder,
        };
        eventually("the gateway is ready", || async { ready(&world.gateway) }).await;
        world
    }

    pub(crate) async fn deploy(&self, name: &str, upstream: SocketAddr, hosts: &[&str]) -> DeploymentId {
        self.deploy_with(name, upstream, None, hosts).await
    }

    pub(crate) async fn deploy_with(
        &self,
        name: &str,
        upstream: SocketAddr,
        ws_upstream: Option<SocketAddr>,
        hosts: &[&str],
    ) -> DeploymentId {
        let parse = |address: SocketAddr| UpstreamList::parse(&address.to_string()).unwrap();
        let new = NewDeployment {
            id: Some(id(name)),
            project: None,
            spec: DeploymentSpec {
                ws_upstream: ws_upstream.map(parse),
                hosts: hosts.iter().map(|host| HostName::parse(host).unwrap()).collect(),
                ..DeploymentSpec::new(parse(upstream))
            },
        };
        self.lifecycle.create_deployment(&self.admin, new).await.unwrap().id
    }

    /// Waits for `running`.
    pub(crate) async fn run(&self, id: &DeploymentId, leaf: &Pair, client_cas: &[&Ca]) {
        self.put(id, leaf, client_cas).await;
        assert_eq!(self.settled(id).await, "running");
    }

    pub(crate) async fn put(&self, id: &DeploymentId, leaf: &Pair, client_cas: &[&Ca]) {
        let given = |text: String| Text::Given(Zeroizing::new(text));
        let two_way = !client_cas.is_empty();
        let upload = Arc::new(Upload {
            tls_type: given(if two_way { "two-way" } else { "one-way" }.to_owned()),
            cert: given(leaf.certificate.clone()),
            key: given(leaf.key.clone()),
            key_password: Text::Absent,
            cacert: if two_way {
                given(client_cas.iter().map(|ca| ca.pem()).collect())
            } else {
                Text::Absent
            },
        });
        let deployment = self.lifecycle.store().read().deployment(id).await.unwrap().unwrap();
        match self.lifecycle.tls(&deployment).await.unwrap() {
            Some(TlsView::Set(_)) => {
                self.lifecycle.replace_tls(&self.admin, &deployment.reference(), upload).await.unwrap()
            }
            _ => self.lifecycle.create_tls(&self.admin, &deployment.reference(), upload).await.unwrap(),
        };
    }

    async fn this(&self, id: &DeploymentId) -> DeploymentRef {
        self.lifecycle.store().read().deployment(id).await.unwrap().unwrap().reference()
    }

    pub(crate) async fn delete_tls(&self, id: &DeploymentId) {
        self.lifecycle.delete_tls(&self.admin, &self.this(id).await).await.unwrap();
    }

    pub(crate) async fn remove(&self, id: &DeploymentId) {
        self.lifecycle.remove_deployment(&self.admin, &self.this(id).await).await.unwrap();
    }

    pub(crate) async fn change(&self, id: &DeploymentId, change: certward_store::DeploymentPatch) {
        self.lifecycle.change_deployment(&self.admin, &self.this(id).await, change).await.unwrap();
    }

    /// After `pending` and `terminated`: `running`, `failed: REASON`, `absent`.
    pub(crate) async fn settled(&self, id: &DeploymentId) -> String {
        self.status_within(id, TEST_TIMEOUT).await
    }

    async fn status_within(&self, id: &DeploymentId, within: Duration) -> String {
        let Some(deployment) = self.lifecycle.store().read().deployment(id).await.unwrap() else {
            return "gone".to_owned();
        };
        match self.lifecycle.tls_settled(&deployment, within).await.unwrap() {
            None => "gone".to_owned(),
            Some(TlsView::Absent) => "absent".to_owned(),
            Some(TlsView::Terminated) => "terminated".to_owned(),
            Some(TlsView::Set(view)) => match view.status {
                Status::Pending => "pending".to_owned(),
                Status::Running => "running".to_owned(),
                Status::Failed { reason } => format!("failed: {reason}"),
            },
        }
    }

    pub(crate) async fn status(&self, id: &DeploymentId) -> String {
        self.status_within(id, Duration::ZERO).await
    }

    /// Newest first.
    pub(crate) fn failures(&self, id: &DeploymentId) -> Vec<&'static str> {
        let failures = certward_lifecycle::NodeView::recent_failures(&self.gateway, id);
        failures.into_iter().map(|failure| failure.cause).collect()
    }

    pub(crate) fn connections(&self, id: &DeploymentId) -> u64 {
        certward_lifecycle::NodeView::connections(&self.gateway, id)
    }

    /// 0 if absent.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics.lock().unwrap()).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0)
    }

    /// Past the store's API.
    pub(crate) async fn sql(&self, statement: &'static str) {
        let file = self.folder.path().join("store.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) async fn snapshot(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        let (from, to) = (Replica::file_in(self.folder.path()), Replica::file_in(copy.path()));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(from);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let statement = format!("VACUUM INTO '{}'", to.display());
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        copy
    }

    pub(crate) fn mqtts(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn wss(&self) -> SocketAddr {
        self.addresses[1]
    }

    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    pub(crate) fn running(&mut self) -> &mut JoinHandle<()> {
        &mut self.running
    }

    pub(crate) async fn shut_down(self) -> tempfile::TempDir {
        self.begin_shutdown();
        tokio::time::timeout(TEST_TIMEOUT, self.running).await.expect("the gateway stops").unwrap();
        self.folder
    }
}

pub(crate) fn ready(gateway: &Gateway) -> bool {
    certward_lifecycle::NodeView::ready(gateway)
}

pub(crate) fn master_key() -> MasterKey {
    MasterKey::parse(&"c0".repeat(32)).unwrap()
}

pub(crate) fn lifecycle_of(gateway: &Gateway, store: Store) -> Lifecycle {
    let port = Arc::new(gateway.clone());
    let settings = certward_lifecycle::LifecycleSettings::default();
    Lifecycle::new(store, port.clone(), port, Arc::new(SystemEntropy), settings)
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + TEST_TIMEOUT;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "it never happens that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key_der: Vec<u8>,
}

pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn leaf(&self, hosts: &[&str]) -> Pair {
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, Duration::from_secs(90 * 86400))
    }

    pub(crate) fn client(&self, name: &str) -> Pair {
        self.issue(vec![name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, Duration::from_secs(86400))
    }

    pub(crate) fn client_for(&self, name: &str, valid: Duration) -> Pair {
        self.issue(vec![name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, valid)
    }

    /// Must be refused.
    pub(crate) fn client_that_is_a_ca(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// Without SAN.
    pub(crate) fn client_named(&self, attributes: &[(DnType, &str)]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in attributes {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// Valid after `from`.
    pub(crate) fn client_from(&self, name: &str, from: Duration) -> Pair {
        let not_before = Some(SystemClock.now().after(from).to_time());
        let valid = from + Duration::from_secs(86400);
        self.issue_from(vec![name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, not_before, valid)
    }

    fn issue(&self, names: Vec<String>, usage: ExtendedKeyUsagePurpose, valid: Duration) -> Pair {
        self.issue_from(names, usage, None, valid)
    }

    fn issue_from(
        &self,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
        not_before: Option<time::OffsetDateTime>,
        valid: Duration,
    ) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.not_before = not_before.unwrap_or(params.not_before);
        params.not_after = SystemClock.now().after(valid).to_time();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }
}

/// With its session tickets.
#[derive(Clone)]
pub(crate) struct Device(Arc<ClientConfig>);

pub(crate) const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
pub(crate) const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

impl Device {
    pub(crate) fn trusting(ca: &Ca) -> Self {
        Self::new(ca, None, &[TLS13, TLS12])
    }

    pub(crate) fn new(
        ca: &Ca,
        identity: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::with_provider(ca, identity, versions, rustls::crypto::aws_lc_rs::default_provider())
    }

    /// Offers an unsupported TLS 1.3 group first, for a HelloRetryRequest.
    pub(crate) fn asked_again(ca: &Ca) -> Self {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = vec![kx_group::MLKEM768, kx_group::X25519];
        Self::with_provider(ca, None, &[TLS13], provider)
    }

    fn with_provider(
        ca: &Ca,
        identity: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
        provider: CryptoProvider,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivatePkcs8KeyDer::from(pair.key_der.clone()).into();
                builder.with_client_auth_cert(vec![pair.der.clone()], key).unwrap()
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
        config.resumption = Resumption::store(Arc::new(OneDrawer(ClientSessionMemoryCache::new(8))));
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
        let mut connection = self.connect(to, name).await?;
        connection.echo(CONNECT).await?;
        Ok(connection)
    }
}

#[derive(Debug)]
struct OneDrawer(ClientSessionMemoryCache);

impl OneDrawer {
    fn any() -> ServerName<'static> {
        ServerName::try_from("any.test").unwrap()
    }
}

impl ClientSessionStore for OneDrawer {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::any(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::any())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::any(), session);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::any())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::any());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::any(), ticket);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::any())
    }
}

pub(crate) struct Connection(pub(crate) TlsStream<TcpStream>);

impl Connection {
    pub(crate) async fn echo(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await?;
        let mut back = vec![0; bytes.len()];
        tokio::time::timeout(TEST_TIMEOUT, self.0.read_exact(&mut back)).await??;
        assert_eq!(back, bytes);
        Ok(())
    }

    pub(crate) fn leaf(&self) -> CertificateDer<'static> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    pub(crate) fn resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// close_notify, with nothing before it.
    pub(crate) async fn ends_cleanly(&mut self) {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(TEST_TIMEOUT, self.0.read_to_end(&mut rest)).await;
        assert!(matches!(read, Ok(Ok(0))), "{read:?} {rest:?}");
    }
}

pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn new<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::at(any(), serve).await
    }

    pub(crate) async fn at<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }

    /// Closes its half after the device's.
    pub(crate) async fn echo() -> Self {
        Self::new(|mut stream| async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        })
        .await
    }

    /// Sends its name after the first bytes.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::named_at(any(), name).await
    }

    pub(crate) async fn named_at(address: SocketAddr, name: &'static str) -> Self {
        Self::at(address, move |mut stream| async move {
            let mut first = [0; 1024];
            let _ = stream.read(&mut first).await;
            let _ = stream.write_all(name.as_bytes()).await;
        })
        .await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

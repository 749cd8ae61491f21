use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use certward_gateway::{Deadlines, Gateway, Listener, NodeReplica, Protocol, Settings, Unbound};
use certward_lifecycle::{Handling, Lifecycle, NewDeployment, Status, SystemEntropy, TlsView};
use certward_pki::{HostName, Text, Upload};
use certward_store::{
    Address, ApiKey, CloseRate, DeploymentId, DeploymentRef, DeploymentSpec, MasterKey, NodeId, Replica,
    Store, SystemClock, UpstreamList,
};
use sqlx::Connection as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Authority, Leaf, RunningNode, ShiftedClock, TEST_TIMEOUT, eventually};

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
        let gateway = Unbound::new(settings, node, clock.clone(), entropy, replica, &mut metrics).unwrap();
        let bound = gateway.bind(|_| None).unwrap();
        let lifecycle = lifecycle_of(bound.gateway(), store);
        let RunningNode { gateway, addresses, shutdown, running } =
            RunningNode::start(bound, lifecycle.clone());
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
    pub(crate) async fn run(&self, id: &DeploymentId, leaf: &Leaf, client_cas: &[&Authority]) {
        self.put(id, leaf, client_cas).await;
        assert_eq!(self.settled(id).await, "running");
    }

    pub(crate) async fn put(&self, id: &DeploymentId, leaf: &Leaf, client_cas: &[&Authority]) {
        self.put_at(id, leaf, client_cas, None).await;
    }

    pub(crate) async fn put_at(
        &self,
        id: &DeploymentId,
        leaf: &Leaf,
        client_cas: &[&Authority],
        rate: Option<CloseRate>,
    ) {
        let given = |text: String| Text::Given(Zeroizing::new(text));
        let two_way = !client_cas.is_empty();
        let upload = Arc::new(Upload {
            tls_type: given(if two_way { "two-way" } else { "one-way" }.to_owned()),
            cert: given(leaf.chain_pem.clone()),
            key: given(leaf.key_pem.clone()),
            cacert: if two_way {
                given(client_cas.iter().map(|ca| ca.pem()).collect())
            } else {
                Text::Absent
            },
            ..Upload::default()
        });
        let deployment = self.lifecycle.store().read().deployment(id).await.unwrap().unwrap();
        match self.lifecycle.tls(&deployment).await.unwrap() {
            Some(TlsView::Set(_)) => self
                .lifecycle
                .replace_tls(&self.admin, &deployment.reference(), upload, Handling::Lenient, rate)
                .await
                .unwrap(),
            _ => self
                .lifecycle
                .create_tls(&self.admin, &deployment.reference(), upload, Handling::Lenient)
                .await
                .unwrap(),
        };
    }

    pub(crate) async fn this(&self, id: &DeploymentId) -> DeploymentRef {
        self.lifecycle.store().read().deployment(id).await.unwrap().unwrap().reference()
    }

    pub(crate) async fn delete_tls(&self, id: &DeploymentId) {
        self.delete_tls_at(id, None).await;
    }

    pub(crate) async fn delete_tls_at(&self, id: &DeploymentId, rate: Option<CloseRate>) {
        self.lifecycle.delete_tls(&self.admin, &self.this(id).await, rate).await.unwrap();
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
        let own = |cause| match cause {
            Cow::Borrowed(cause) => cause,
            Cow::Owned(cause) => panic!("another node's: {cause}"),
        };
        failures.into_iter().map(|failure| own(failure.cause)).collect()
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

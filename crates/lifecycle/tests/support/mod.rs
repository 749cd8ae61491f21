//! The test bed: a store in a temporary folder, a manual clock, and a scripted gateway.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part of the stage, and a test may unwrap"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use certward_lifecycle::{
    CarryingOut, CertificateView, FailedHandshake, Handling, Lifecycle, LifecycleSettings, LiveEvidence,
    Member, NewDeployment, NodeView, Observation, ProofFailure, Rehearsal, SessionFilter, SessionsByClientCa,
    SessionsOfNode, SystemEntropy, TlsView, TrustChange,
};
use certward_pki::{DenyKey, DeviceId, HostName, KEEP, Material, NoEntryPoint, Text, Upload};
use certward_store::{
    Address, ApiKey, Deployment, DeploymentId, DeploymentRef, DeploymentSpec, Generation, MasterKey, NodeId,
    Session, Store, Timestamp, TrustScope, UpstreamList, Version,
};
pub(crate) use certward_test_support::Authority;
use certward_test_support::{HandClock, Leaf, server_params};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Can refuse a rehearsal, or have no entry point.
#[derive(Debug, Default)]
pub(crate) struct FakeGateway {
    pub(crate) refusal: Mutex<Option<String>>,
    pub(crate) no_entry_point: AtomicBool,
    /// Of this node; `None`: it has no gateway.
    pub(crate) node: Mutex<Option<NodeId>>,
    pub(crate) by_client_ca: Mutex<SessionsByClientCa>,
    /// `None`: it identifies no devices.
    pub(crate) connected: Mutex<Option<Vec<DeviceId>>>,
    /// Each finds a session.
    pub(crate) denied: Mutex<Vec<DenyKey>>,
    /// Reports a rehearsal's start, and waits for the test.
    held: Mutex<Option<(mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<()>)>>,
}

pub(crate) struct Rehearsals {
    begun: mpsc::UnboundedReceiver<()>,
    go_on: mpsc::UnboundedSender<()>,
}

impl Rehearsals {
    pub(crate) async fn begun(&mut self) {
        tokio::time::timeout(Duration::from_secs(30), self.begun.recv()).await.unwrap().unwrap();
    }

    pub(crate) fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }
}

impl FakeGateway {
    pub(crate) fn hold_rehearsals(&self) -> Rehearsals {
        let (tell, begun) = mpsc::unbounded_channel();
        let (go_on, wait) = mpsc::unbounded_channel();
        *self.held.lock().unwrap() = Some((tell, wait));
        Rehearsals { begun, go_on }
    }
}

impl Rehearsal for FakeGateway {
    fn rehearse(&self, _: &Material) -> Result<(), String> {
        if let Some((tell, wait)) = &mut *self.held.lock().unwrap() {
            // The test may have ended.
            let _ = tell.send(());
            let _ = wait.blocking_recv();
        }
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl NodeView for FakeGateway {
    fn ready(&self) -> bool {
        true
    }
    fn entry_point(&self, _: &Deployment) -> Result<(), NoEntryPoint> {
        if self.no_entry_point.load(Ordering::SeqCst) { Err(NoEntryPoint::NoHost) } else { Ok(()) }
    }
    fn connections(&self, _: &DeploymentId) -> u64 {
        0
    }
    fn gateway_node(&self) -> Option<NodeId> {
        self.node.lock().unwrap().clone()
    }
    fn recent_failures(&self, _: &DeploymentId) -> Vec<FailedHandshake> {
        vec![]
    }
    fn newest_failure(&self, _: &DeploymentId) -> Option<FailedHandshake> {
        None
    }

    fn sessions(&self, _: &DeploymentId, _: &SessionFilter, _: usize) -> Option<SessionsOfNode> {
        None
    }

    fn connected(&self, _: &DeploymentId, devices: &[DeviceId]) -> Option<Vec<DeviceId>> {
        let connected = self.connected.lock().unwrap();
        let connected = connected.as_ref()?;
        Some(devices.iter().filter(|device| connected.contains(device)).copied().collect())
    }

    fn close_sessions(&self, _: &DeploymentId, _: &SessionFilter) -> Option<u64> {
        None
    }

    fn live_evidence(&self, _: &DeploymentId, _: &TrustChange) -> LiveEvidence {
        LiveEvidence::default()
    }

    fn denied_sessions(&self, _: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
        let denied = self.denied.lock().unwrap();
        keys.iter().map(|key| u64::from(denied.contains(key))).collect()
    }

    fn carried_out(&self, _: &DeploymentId, _: Generation) -> CarryingOut<'_> {
        Box::pin(std::future::ready(true))
    }

    fn sessions_by_client_ca(&self, _: &DeploymentId, _: &[Vec<u8>]) -> SessionsByClientCa {
        self.by_client_ca.lock().unwrap().clone()
    }
}

pub(crate) const HOST: &str = "ge6a1a75.example.com";
const LEAVES_EXPIRE: time::OffsetDateTime = time::macros::datetime!(2027-11-01 00:00 UTC);

pub(crate) struct Backup(Vec<u8>);

pub(crate) struct World {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) gateway: Arc<FakeGateway>,
    pub(crate) admin: ApiKey,
    pub(crate) id: DeploymentId,
    master_key: MasterKey,
    folder: tempfile::TempDir,
}

/// Their defaults: a change fails after a minute, a lease ends after 15 seconds.
pub(crate) fn settings() -> LifecycleSettings {
    LifecycleSettings::default()
}

impl World {
    /// With the deployment `ge6a1a75` and an admin key, no node.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock =
            Arc::new(HandClock::at(Timestamp::from_time(time::macros::datetime!(2026-11-25 12:00 UTC))));
        let address = Address::Embedded(folder.path().to_owned());
        let master_key = MasterKey::generate();
        let store = Store::init(&address, &master_key, clock.clone()).await.unwrap();
        let (admin, _) = Lifecycle::create_first_key(&store).await.unwrap();
        let gateway = Arc::new(FakeGateway::default());
        let lifecycle =
            Lifecycle::new(store, gateway.clone(), gateway.clone(), Arc::new(SystemEntropy), settings());
        let id = DeploymentId::parse("ge6a1a75").unwrap();
        let world = Self { lifecycle, clock, gateway, admin: admin.key, id, master_key, folder };
        world.lifecycle.create_deployment(&world.admin, world.new_deployment("ge6a1a75")).await.unwrap();
        world
    }

    /// Another node's, on the same store.
    pub(crate) fn another_lifecycle(&self) -> Lifecycle {
        let gateway = Arc::new(FakeGateway::default());
        let store = self.lifecycle.store().clone();
        Lifecycle::new(store, gateway.clone(), gateway, Arc::new(SystemEntropy), settings())
    }

    /// Those of the newest upload, DER.
    pub(crate) async fn client_cas(&self) -> Vec<Vec<u8>> {
        self.newest().await.client_cas
    }

    pub(crate) async fn trust_scope(&self) -> TrustScope {
        self.newest().await.trust_scope
    }

    async fn newest(&self) -> Version {
        let version = self.deployment().await.tls.version().unwrap();
        self.lifecycle.store().read().version(&self.id, version).await.unwrap().unwrap()
    }

    pub(crate) async fn back_up(&mut self) -> Backup {
        self.lifecycle.store().close().await;
        let backup = Backup(std::fs::read(self.database()).unwrap());
        self.open().await;
        backup
    }

    pub(crate) async fn restore(&mut self, backup: &Backup) {
        self.lifecycle.store().close().await;
        std::fs::write(self.database(), &backup.0).unwrap();
        self.open().await;
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("store.db")
    }

    async fn open(&mut self) {
        let address = Address::Embedded(self.folder.path().to_owned());
        let store = Store::open(&address, &self.master_key, self.clock.clone()).await.unwrap();
        let gateway = &self.gateway;
        self.lifecycle =
            Lifecycle::new(store, gateway.clone(), gateway.clone(), Arc::new(SystemEntropy), settings());
    }

    pub(crate) fn new_deployment(&self, id: &str) -> NewDeployment {
        NewDeployment {
            id: Some(DeploymentId::parse(id).unwrap()),
            project: None,
            spec: DeploymentSpec {
                hosts: vec![HostName::parse(&format!("{id}.example.com")).unwrap()],
                ..DeploymentSpec::new(UpstreamList::parse("127.0.0.1:1883").unwrap())
            },
        }
    }

    pub(crate) async fn deployment(&self) -> Deployment {
        self.lifecycle.store().read().deployment(&self.id).await.unwrap().unwrap()
    }

    pub(crate) async fn this(&self) -> DeploymentRef {
        self.deployment().await.reference()
    }

    pub(crate) async fn that(&self, id: &str) -> DeploymentRef {
        let id = DeploymentId::parse(id).unwrap();
        self.lifecycle.store().read().deployment(&id).await.unwrap().unwrap().reference()
    }

    pub(crate) async fn generation(&self) -> Generation {
        self.deployment().await.generation
    }

    pub(crate) async fn view(&self) -> TlsView {
        self.lifecycle.tls(&self.deployment().await).await.unwrap().unwrap()
    }

    /// `absent`, `pending`, `running`, `failed: REASON`, `terminated`.
    pub(crate) async fn status(&self) -> String {
        match self.view().await {
            TlsView::Absent => "absent".into(),
            TlsView::Terminated => "terminated".into(),
            TlsView::Set(view) => status_of(&view),
        }
    }

    /// In a session of its own, with everything applied.
    pub(crate) async fn join(&self, node: &str) -> Member {
        let node = Member { id: NodeId::parse(node).unwrap(), session: session() };
        assert!(self.lifecycle.join(&node.id, node.session, async |_| true).await.unwrap());
        node
    }

    /// Another process of the node.
    pub(crate) async fn restart(&self, node: &Member) -> Member {
        let node = Member { session: session(), ..node.clone() };
        self.lifecycle.register(&node.id, node.session).await.unwrap();
        node
    }

    pub(crate) async fn renew(&self, node: &Member) -> bool {
        self.lifecycle.renew(&node.id, node.session).await.unwrap()
    }

    pub(crate) async fn leave(&self, node: &Member) {
        self.lifecycle.leave(&node.id, node.session).await.unwrap();
    }

    pub(crate) async fn report(&self, node: &Member, proof: Result<(), ProofFailure>) {
        self.report_on(node, self.generation().await, proof).await;
    }

    pub(crate) async fn report_on(
        &self,
        node: &Member,
        generation: Generation,
        proof: Result<(), ProofFailure>,
    ) {
        let as_of = self.lifecycle.store().read_as_member().newest_position().await.unwrap();
        let observation = Observation { id: &self.id, generation, as_of };
        self.lifecycle.report(node, &observation, proof).await.unwrap();
    }

    pub(crate) async fn create(&self, upload: Upload) -> CertificateView {
        self.lifecycle
            .create_tls(&self.admin, &self.this().await, upload.into(), Handling::Lenient)
            .await
            .unwrap()
            .view
    }

    pub(crate) async fn replace(&self, upload: Upload) -> CertificateView {
        self.lifecycle
            .replace_tls(&self.admin, &self.this().await, upload.into(), Handling::Lenient, None)
            .await
            .unwrap()
            .view
    }

    pub(crate) async fn delete(&self) {
        self.lifecycle.delete_tls(&self.admin, &self.this().await, None).await.unwrap();
    }
}

/// Unique.
pub(crate) fn session() -> Session {
    static DRAWN: AtomicI64 = AtomicI64::new(0);
    Session(DRAWN.fetch_add(1, Ordering::SeqCst) + 1)
}

pub(crate) fn status_of(view: &CertificateView) -> String {
    match &view.status {
        certward_lifecycle::Status::Pending => "pending".into(),
        certward_lifecycle::Status::Running => "running".into(),
        certward_lifecycle::Status::Failed { reason } => format!("failed: {reason}"),
    }
}

pub(crate) fn not_proven(reason: &str) -> Result<(), ProofFailure> {
    Err(ProofFailure::NotProven(reason.into()))
}

/// Uploads for the deployment's host.
pub(crate) trait Uploads {
    /// A new leaf.
    fn one_way(&self) -> Upload;
    /// A new leaf, with these client CAs.
    fn two_way(&self, clients: &[&Authority]) -> Upload;
    /// A new leaf, with the client CAs of the one before.
    fn keep(&self) -> Upload {
        Upload { tls_type: given(KEEP), ..self.one_way() }
    }
}

impl Uploads for Authority {
    fn one_way(&self) -> Upload {
        one_way(&self.server_with(&[HOST], |leaf| leaf.not_after = LEAVES_EXPIRE))
    }

    fn two_way(&self, clients: &[&Authority]) -> Upload {
        let cas: Vec<&str> = clients.iter().map(|authority| authority.pem()).collect();
        Upload { tls_type: given("two-way"), cacert: given(&cas.join("\n")), ..self.one_way() }
    }
}

pub(crate) fn self_signed() -> Upload {
    one_way(&Leaf::self_signed(server_params(HOST, &[HOST])))
}

pub(crate) fn one_way(leaf: &Leaf) -> Upload {
    Upload {
        tls_type: given("one-way"),
        cert: given(&leaf.chain_pem),
        key: given(&leaf.key_pem),
        ..Upload::default()
    }
}

pub(crate) fn given(text: &str) -> Text {
    Text::Given(Zeroizing::new(text.to_owned()))
}

//! A shared store and its nodes; each has a handle of its own, as a process has.

use std::{sync::Arc, time::Duration};

use certward_lifecycle::{
    CarryingOut, FailedHandshake, FailuresOfNodes, Lifecycle, LifecycleSettings, LiveEvidence, NodeRequest,
    NodeView, Rehearsal, SessionFilter, SessionsByClientCa, SessionsOfNode, SilentNodes, SystemEntropy,
    TrustChange,
};
use certward_pki::{DenyKey, DeviceId, Material, NoEntryPoint};
use certward_store::{
    Address, Deployment, DeploymentId, Generation, MasterKey, NodeId, NodeProcess, Role, Servers, Session,
    Store, StoreError, SystemClock,
};
use certward_test_support::PostgresServer;
use tokio::time::timeout;

/// A node that is waited for is named when it is over; the rest is for a slow machine.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct FakeGateway {
    pub(crate) node: Option<NodeId>,
    pub(crate) failures: Vec<FailedHandshake>,
    /// `None`: it identifies no device.
    pub(crate) sessions: Option<SessionsOfNode>,
    pub(crate) evidence: LiveEvidence,
    /// Each has a session.
    pub(crate) denied: Vec<DenyKey>,
    /// Up to which it has carried changes out.
    pub(crate) carried_out: Option<Generation>,
    pub(crate) by_client_ca: SessionsByClientCa,
}

impl Rehearsal for FakeGateway {
    fn rehearse(&self, _: &Material) -> Result<(), String> {
        Ok(())
    }
}

impl NodeView for FakeGateway {
    fn ready(&self) -> bool {
        true
    }
    fn entry_point(&self, _: &Deployment) -> Result<(), NoEntryPoint> {
        Ok(())
    }
    fn connections(&self, _: &DeploymentId) -> u64 {
        0
    }
    fn gateway_node(&self) -> Option<NodeId> {
        self.node.clone()
    }
    fn recent_failures(&self, _: &DeploymentId) -> Vec<FailedHandshake> {
        self.failures.clone()
    }
    fn newest_failure(&self, _: &DeploymentId) -> Option<FailedHandshake> {
        self.failures.first().cloned()
    }

    fn sessions(&self, _: &DeploymentId, _: &SessionFilter, limit: usize) -> Option<SessionsOfNode> {
        let mut sessions = self.sessions.clone()?;
        sessions.sessions.truncate(limit);
        Some(sessions)
    }
    fn connected(&self, _: &DeploymentId, devices: &[DeviceId]) -> Option<Vec<DeviceId>> {
        let sessions = &self.sessions.as_ref()?.sessions;
        let is_connected = |id: &&DeviceId| sessions.iter().any(|session| session.device == Some(**id));
        Some(devices.iter().filter(is_connected).copied().collect())
    }
    fn close_sessions(&self, _: &DeploymentId, _: &SessionFilter) -> Option<u64> {
        self.sessions.as_ref().map(|sessions| sessions.total)
    }
    fn live_evidence(&self, _: &DeploymentId, _: &TrustChange) -> LiveEvidence {
        self.evidence.clone()
    }
    fn denied_sessions(&self, _: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
        keys.iter().map(|key| u64::from(self.denied.contains(key))).collect()
    }
    fn carried_out(&self, _: &DeploymentId, change: Generation) -> CarryingOut<'_> {
        Box::pin(std::future::ready(self.carried_out.is_some_and(|carried_out| change <= carried_out)))
    }
    fn sessions_by_client_ca(&self, _: &DeploymentId, _: &[Vec<u8>]) -> SessionsByClientCa {
        self.by_client_ca.clone()
    }
}

pub(crate) struct Cluster {
    address: Address,
    master_key: MasterKey,
    pub(crate) database: String,
    pub(crate) server: Arc<PostgresServer>,
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        let server = PostgresServer::shared();
        let url = server.database();
        let address = Address::Postgres(Servers::parse([url.as_str()]).unwrap());
        let database = url.rsplit('/').next().unwrap().to_owned();
        let master_key = MasterKey::generate();
        Store::init(&address, &master_key, Arc::new(SystemClock)).await.unwrap().close().await;
        Self { address, master_key, database, server }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.address, &self.master_key, Arc::new(SystemClock)).await.unwrap()
    }

    /// With a lease.
    pub(crate) async fn joined(&self, id: &str, failures: Vec<FailedHandshake>) -> Node {
        self.joined_with(FakeGateway { node: Some(name(id)), failures, ..FakeGateway::default() }).await
    }

    /// With a lease.
    pub(crate) async fn joined_with(&self, gateway: FakeGateway) -> Node {
        let node = self.node_with(gateway).await;
        let id = node.view.node.clone().unwrap();
        assert!(node.lifecycle.join(&id, Session(1), async |_| true).await.unwrap());
        node
    }

    pub(crate) async fn node(&self, gateway: Option<&str>, failures: Vec<FailedHandshake>) -> Node {
        self.node_with(FakeGateway { node: gateway.map(name), failures, ..FakeGateway::default() }).await
    }

    pub(crate) async fn node_with(&self, gateway: FakeGateway) -> Node {
        let gateway = Arc::new(gateway);
        let (view, settings) = (Arc::clone(&gateway), LifecycleSettings::default());
        let lifecycle = Lifecycle::new(
            self.store().await,
            gateway,
            Arc::clone(&view) as _,
            Arc::new(SystemEntropy),
            settings,
        );
        Node { lifecycle, view }
    }

    pub(crate) async fn reported(&self, id: &str, role: Role) {
        let process = NodeProcess { role, version: "1.2.3" };
        self.store().await.record_process(&name(id), process, None).await.unwrap();
    }

    pub(crate) fn tamper(&self, sql: &str) -> String {
        self.server.query(&self.database, sql)
    }
}

pub(crate) struct Node {
    pub(crate) lifecycle: Lifecycle,
    view: Arc<FakeGateway>,
}

impl Node {
    pub(crate) async fn failures(&self) -> FailuresOfNodes {
        self.asked().await.unwrap().unwrap()
    }

    pub(crate) async fn asked(&self) -> Result<Option<FailuresOfNodes>, StoreError> {
        timeout(ANSWERED_WITHIN, self.lifecycle.failures_of_nodes(&deployment())).await.unwrap()
    }

    /// Answers as the gateway does, from now on, or with `body`.
    pub(crate) fn answers(&self, body: Option<&'static str>) -> tokio::task::JoinHandle<()> {
        let (store, view) = (self.lifecycle.store().clone(), Arc::clone(&self.view));
        tokio::spawn(async move {
            let node = view.gateway_node().unwrap();
            // Not only when it wakes: it may not listen yet.
            loop {
                for question in store.open_questions(&node, 10).await.unwrap() {
                    let request = NodeRequest::parse(&question.request).unwrap();
                    let own = request.answer(Arc::clone(&view) as _, question.deployment);
                    let body = match body {
                        Some(body) => body.to_owned(),
                        None => own.await,
                    };
                    let answer = (question.id, body);
                    store.answer_questions(&node, &[answer]).await.unwrap();
                }
                let _ = timeout(Duration::from_millis(20), store.questions().next()).await;
            }
        })
    }
}

pub(crate) fn name(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

pub(crate) fn names(ids: &[&str]) -> SilentNodes {
    SilentNodes::These(ids.iter().map(|id| name(id)).collect())
}

pub(crate) fn deployment() -> DeploymentId {
    DeploymentId::parse("d").unwrap()
}

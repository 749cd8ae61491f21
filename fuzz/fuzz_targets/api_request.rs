//! Any request to the real server with a valid login: `method US path US headers US body`, where US
//! is the unit separator (0x1f). No answer may be a 5xx or late.
#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use certward_api::{Api, ApiDeadlines, ApiSettings, register_metrics};
use certward_lifecycle::{
    CarryingOut, FailedHandshake, Lifecycle, LiveEvidence, NewDeployment, NodeView, Rehearsal, SessionFilter,
    SessionsByClientCa, SessionsOfNode, SystemEntropy, TrustChange,
};
use certward_pki::{DenyKey, DeviceId, HostName, Material, NoEntryPoint};
use certward_store::{
    Address, Deployment, DeploymentId, DeploymentSpec, Generation, MasterKey, NodeId, RequestLimit, Store,
    SystemClock, UpstreamList,
};
use libfuzzer_sys::fuzz_target;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

fuzz_target!(|data: &[u8]| {
    let server = &*SERVER;
    let mut parts = data.splitn(4, |byte| *byte == 0x1f);
    let mut part = || parts.next().unwrap_or_default();
    let (method, path, headers, body) = (part(), part(), part(), part());
    let length = format!("Content-Length: {}", body.len());
    let request: Vec<u8> = [
        method,
        b" ",
        path,
        b" HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nAuthorization: ",
        server.login.as_bytes(),
        b"\r\n",
        length.as_bytes(),
        b"\r\n",
        headers,
        b"\r\n\r\n",
        body,
    ]
    .concat();

    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    // The server may close early.
    let _ = stream.write_all(&request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "no answer, and no end: {error}");
    }
    if let Some(status) = answer.strip_prefix(b"HTTP/1.1 ") {
        assert!(status.first() != Some(&b'5'), "{}", String::from_utf8_lossy(&answer));
    }
});

struct Server {
    address: SocketAddr,
    login: String,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    // In memory if possible: changes are fsync'd.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let (address, login) = runtime.block_on(start(folder.path()));
    Server { address, login, _runtime: runtime, _folder: folder }
});

async fn start(folder: &std::path::Path) -> (SocketAddr, String) {
    let address = Address::Embedded(folder.to_owned());
    let store =
        Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.expect("a new store");
    let (key, secret) = Lifecycle::create_first_key(&store).await.expect("a new store has no key");
    let login =
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", key.key.as_str(), secret.expose()));
    let gateway = Arc::new(NoGateway);
    let rules = certward_lifecycle::LifecycleSettings::default();
    let lifecycle = Lifecycle::new(store, gateway.clone(), gateway, Arc::new(SystemEntropy), rules);
    let new = NewDeployment {
        id: Some(DeploymentId::parse("ge6a1a75").expect("an id")),
        project: None,
        spec: DeploymentSpec {
            hosts: vec![HostName::parse("broker.example.com").expect("a host")],
            ..DeploymentSpec::new(UpstreamList::parse("127.0.0.1:1883").expect("an upstream"))
        },
    };
    lifecycle.create_deployment(&key.key, new).await.expect("it is the first");

    let mut settings = ApiSettings::new(([127, 0, 0, 1], 0).into());
    let unlimited = RequestLimit { requests: 1_000_000, window: Duration::from_secs(1) };
    settings.limits.reads = unlimited;
    settings.limits.changes = unlimited;
    let short = Duration::from_secs(2);
    settings.deadlines = ApiDeadlines { headers: short, body: short, idle: short, ..settings.deadlines };
    let bound = Api::bind(settings).expect("a free port");
    let address = bound.address();
    let mut registry = Registry::default();
    let metrics = register_metrics(&mut registry);
    tokio::spawn(Api::run(bound, lifecycle, metrics, Arc::new(registry), CancellationToken::new()));
    (address, format!("Basic {login}"))
}

#[derive(Debug)]
struct NoGateway;

impl Rehearsal for NoGateway {
    fn rehearse(&self, _: &Material) -> Result<(), String> {
        Ok(())
    }
}

impl NodeView for NoGateway {
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
        None
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

    fn connected(&self, _: &DeploymentId, _: &[DeviceId]) -> Option<Vec<DeviceId>> {
        None
    }

    fn close_sessions(&self, _: &DeploymentId, _: &SessionFilter) -> Option<u64> {
        None
    }

    fn live_evidence(&self, _: &DeploymentId, _: &TrustChange) -> LiveEvidence {
        LiveEvidence::default()
    }

    fn denied_sessions(&self, _: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
        vec![0; keys.len()]
    }

    fn carried_out(&self, _: &DeploymentId, _: Generation) -> CarryingOut<'_> {
        Box::pin(std::future::ready(true))
    }

    fn sessions_by_client_ca(&self, _: &DeploymentId, _: &[Vec<u8>]) -> SessionsByClientCa {
        SessionsByClientCa::default()
    }
}

//! The test bed: the real server and a store, a manual clock, a scripted gateway, a raw client.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use certward_api::{Api, ApiDeadlines, ApiSettings, BoundApi, register_metrics};
use certward_lifecycle::{
    AlertMessage, AlertSender, CarryingOut, CrlFetcher, FailedHandshake, Fetching, Lifecycle, LiveEvidence,
    LiveSession, Member, NewKey, NodeView, Observation, ProofFailure, Rehearsal, Sending, SessionFilter,
    SessionsByClientCa, SessionsOfNode, SystemEntropy, TrustChange, Unfetched,
};
use certward_pki::{
    ClientCertificate, ClientCertificateFacts, DenyKey, DeviceId, HostName, Material, NeededCa, NoEntryPoint,
};
use certward_store::{
    Address, AlertReceiver, ApiKey, CrlUrl, Deployment, DeploymentId, DeploymentSpec, FetchConditions,
    Generation, MasterKey, NodeId, ProjectId, RevocationMark, Scope, Servers, Session, Store, Timestamp,
    TlsState, UpstreamList,
};
use certward_test_support::{HandClock, Leaf, PostgresServer, server_params, unchunked};
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection};
use time::macros::datetime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::conformance;

pub(crate) const BASE: &str = "/public_api/v1";
pub(crate) const TLS: &str = "/public_api/v1/deployments/ge6a1a75/tls";

/// Can panic in a rehearsal, not be ready, be no gateway, identify no device, or have sessions.
#[derive(Debug, Default)]
pub(crate) struct FakeGateway {
    pub(crate) panics: AtomicBool,
    pub(crate) starting: AtomicBool,
    pub(crate) absent: AtomicBool,
    pub(crate) anonymous: AtomicBool,
    /// Networks are permitted to CRLs.
    pub(crate) fetches: AtomicBool,
    /// Acknowledges no change.
    pub(crate) behind: AtomicBool,
    /// Each finds a session.
    pub(crate) denied: Mutex<Vec<DenyKey>>,
    pub(crate) sessions: Mutex<Vec<(DeploymentId, LiveSession)>>,
    /// Its sessions, for any change.
    pub(crate) live: Mutex<LiveEvidence>,
}

impl FakeGateway {
    fn is_anonymous(&self, filter: &SessionFilter) -> bool {
        matches!(filter, SessionFilter::Devices(_)) && self.anonymous.load(Ordering::SeqCst)
    }
}

impl Rehearsal for FakeGateway {
    fn rehearse(&self, _: &Material) -> Result<(), String> {
        assert!(!self.panics.load(Ordering::SeqCst), "SECRET of a panic");
        Ok(())
    }
}

/// Accepts every message.
#[derive(Debug)]
struct FakeSender;

impl AlertSender for FakeSender {
    fn send<'a>(&'a self, _: &'a AlertReceiver, _: &'a AlertMessage, _: Timestamp) -> Sending<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn may_reach_any(&self) -> bool {
        true
    }
}

/// Fetches nothing.
#[derive(Debug)]
struct FakeFetcher(Arc<FakeGateway>);

impl CrlFetcher for FakeFetcher {
    fn fetch<'a>(&'a self, _: &'a CrlUrl, _: &'a FetchConditions) -> Fetching<'a> {
        let failure = Unfetched { code: "timed_out", sentence: "the CRL's server did not answer".to_owned() };
        Box::pin(std::future::ready(Err(failure)))
    }

    fn may_reach_any(&self) -> bool {
        self.0.fetches.load(Ordering::SeqCst)
    }
}

impl NodeView for FakeGateway {
    fn ready(&self) -> bool {
        !self.starting.load(Ordering::SeqCst)
    }
    fn entry_point(&self, _: &Deployment) -> Result<(), NoEntryPoint> {
        Ok(())
    }
    fn connections(&self, _: &DeploymentId) -> u64 {
        0
    }
    fn gateway_node(&self) -> Option<NodeId> {
        (!self.absent.load(Ordering::SeqCst)).then(node_1)
    }
    fn recent_failures(&self, _: &DeploymentId) -> Vec<FailedHandshake> {
        let stranger = FailedHandshake {
            at: Timestamp::from_time(datetime!(2026-11-25 11:58:20 UTC)),
            peer: "192.0.2.7:50123".parse().unwrap(),
            cause: "certificate_unknown_issuer".into(),
            meaning: "No client CA of the deployment issued the device's certificate.".into(),
            remedy: "Add its CA.".into(),
            server_name: Some("mqtt.example.com".into()),
            tls_version: Some("1.3".into()),
            detail: None,
            client_certificate: Some(Box::new(client_certificate())),
        };
        let too_new = FailedHandshake {
            at: Timestamp::from_time(datetime!(2026-11-25 11:57:19 UTC)),
            cause: "wrong_protocol".into(),
            meaning: "Inside TLS the device spoke another protocol than the listener's.".into(),
            remedy: "Point the device to the port of its protocol.".into(),
            server_name: None,
            tls_version: None,
            detail: Some("MQTT level 6".into()),
            client_certificate: None,
            ..stranger.clone()
        };
        vec![stranger, too_new]
    }
    fn newest_failure(&self, id: &DeploymentId) -> Option<FailedHandshake> {
        self.recent_failures(id).into_iter().next()
    }

    fn sessions(&self, id: &DeploymentId, filter: &SessionFilter, limit: usize) -> Option<SessionsOfNode> {
        if self.is_anonymous(filter) {
            return None;
        }
        let sessions = self.sessions.lock().unwrap();
        let found: Vec<_> =
            sessions.iter().filter(|(of, session)| of == id && selects(filter, session)).collect();
        let sessions = found.iter().take(limit).map(|(_, session)| session.clone()).collect();
        Some(SessionsOfNode { total: found.len() as u64, sessions })
    }

    fn connected(&self, id: &DeploymentId, devices: &[DeviceId]) -> Option<Vec<DeviceId>> {
        let filter = SessionFilter::Devices(devices.to_vec());
        let found = self.sessions(id, &filter, usize::MAX)?;
        Some(found.sessions.iter().filter_map(|session| session.device).collect())
    }

    fn close_sessions(&self, id: &DeploymentId, filter: &SessionFilter) -> Option<u64> {
        if self.is_anonymous(filter) {
            return None;
        }
        let mut sessions = self.sessions.lock().unwrap();
        let before = sessions.len();
        sessions.retain(|(of, session)| of != id || !selects(filter, session));
        Some((before - sessions.len()) as u64)
    }

    fn live_evidence(&self, _: &DeploymentId, _: &TrustChange) -> LiveEvidence {
        self.live.lock().unwrap().clone()
    }

    fn denied_sessions(&self, _: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
        let denied = self.denied.lock().unwrap();
        keys.iter().map(|key| u64::from(denied.contains(key))).collect()
    }

    fn carried_out(&self, _: &DeploymentId, _: Generation) -> CarryingOut<'_> {
        Box::pin(std::future::ready(!self.behind.load(Ordering::SeqCst)))
    }

    /// All that have a certificate are of the first.
    fn sessions_by_client_ca(&self, id: &DeploymentId, _: &[Vec<u8>]) -> SessionsByClientCa {
        let sessions = self.sessions.lock().unwrap();
        let count = sessions.iter().filter(|(of, session)| of == id && session.device.is_some()).count();
        let records_devices = !self.anonymous.load(Ordering::SeqCst);
        SessionsByClientCa { sessions: vec![count as u64], records_devices }
    }
}

fn selects(filter: &SessionFilter, session: &LiveSession) -> bool {
    match filter {
        SessionFilter::All => true,
        SessionFilter::Devices(devices) => session.device.is_some_and(|device| devices.contains(&device)),
        SessionFilter::Address(address) => session.address.ip() == *address,
    }
}

fn node_1() -> NodeId {
    NodeId::parse("node-1").unwrap()
}

fn client_certificate() -> ClientCertificate {
    let facts = ClientCertificateFacts {
        subject: "CN=meter-7".into(),
        issuer: "CN=Meters".into(),
        serial: "0a1b".into(),
        not_after: datetime!(2027-11-25 12:00 UTC),
    };
    let needed_ca = NeededCa { name: "CN=Meters".into(), is_name_known: false };
    ClientCertificate {
        fingerprint: "9f86".repeat(16).into(),
        facts: Some(facts),
        needed_ca: Some(needed_ca),
    }
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) gateway: Arc<FakeGateway>,
    pub(crate) admin: Login,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinHandle<()>,
    database: Database,
}

enum Database {
    Embedded(tempfile::TempDir),
    Postgres { url: String, _server: Arc<PostgresServer> },
}

/// An `Authorization` header.
#[derive(Debug, Clone)]
pub(crate) struct Login(pub(crate) String);

impl Login {
    pub(crate) fn new(key: &str, secret: &str) -> Self {
        Self(format!("Basic {}", STANDARD.encode(format!("{key}:{secret}"))))
    }
}

impl World {
    /// With the deployment `ge6a1a75`.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adapt: impl FnOnce(&mut ApiSettings)) -> Self {
        let world = Self::bound(adapt, |_| {}).await;
        world.deployment("ge6a1a75", "default").await;
        world
    }

    /// `look` sees the server before it runs.
    pub(crate) async fn bound(adapt: impl FnOnce(&mut ApiSettings), look: impl FnOnce(&BoundApi)) -> Self {
        Self::on(Database::Embedded(tempfile::tempdir().unwrap()), adapt, look).await
    }

    pub(crate) async fn on_postgres(adapt: impl FnOnce(&mut ApiSettings)) -> Self {
        let server = PostgresServer::shared();
        let database = Database::Postgres { url: server.database(), _server: server };
        Self::on(database, adapt, |_| {}).await
    }

    async fn on(
        database: Database,
        adapt: impl FnOnce(&mut ApiSettings),
        look: impl FnOnce(&BoundApi),
    ) -> Self {
        let begun = Timestamp::from_time(datetime!(2026-11-25 12:00 UTC));
        let clock = Arc::new(HandClock::at(begun));
        let address = database.address();
        let store = Store::init(&address, &MasterKey::generate(), clock.clone()).await.unwrap();
        let (key, secret) = Lifecycle::create_first_key(&store).await.unwrap();
        let gateway = Arc::new(FakeGateway::default());
        let rules = certward_lifecycle::LifecycleSettings::default();
        let lifecycle =
            Lifecycle::new(store, gateway.clone(), gateway.clone(), Arc::new(SystemEntropy), rules)
                .with_alert_sender(Arc::new(FakeSender))
                .with_crl_fetcher(Arc::new(FakeFetcher(Arc::clone(&gateway))));

        let mut settings = ApiSettings::new("127.0.0.1:0".parse().unwrap());
        settings.deadlines = ApiDeadlines { drain: Duration::from_secs(5), ..ApiDeadlines::default() };
        adapt(&mut settings);
        let bound = Api::bind(settings).unwrap();
        look(&bound);
        let address = bound.address();
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = register_metrics(&mut registry);
        let shutdown = CancellationToken::new();
        let running = Api::run(bound, lifecycle.clone(), metrics, Arc::new(registry), shutdown.clone());
        let server = tokio::spawn(async move { running.await.unwrap() });
        let admin = Login::new(key.key.as_str(), secret.expose());
        Self { address, lifecycle, clock, gateway, admin, shutdown, server, database }
    }

    pub(crate) async fn deployment(&self, id: &str, project: &str) {
        let body = json!({"deploymentID": id, "projectID": project, "upstream": "127.0.0.1:1883",
            "hosts": [format!("{id}.example.com")]});
        let answer = self.post("/deployments").json(&body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Past the API.
    pub(crate) async fn deployments(&self, ids: impl IntoIterator<Item = String>, project: &str) {
        let store = self.lifecycle.store();
        let mut tx = store.begin().await.unwrap();
        for id in ids {
            let id = DeploymentId::parse(&id).unwrap();
            let hosts = vec![HostName::parse(&format!("{id}.example.com")).unwrap()];
            let generation = tx.draw_generation(&id).await.unwrap();
            let deployment = Deployment {
                id: id.clone(),
                project: ProjectId::parse(project).unwrap(),
                spec: DeploymentSpec {
                    hosts,
                    ..DeploymentSpec::new(UpstreamList::parse("127.0.0.1:1883").unwrap())
                },
                created_at: tx.now(),
                born: generation,
                generation,
                tls: TlsState::Absent,
                revocations: RevocationMark::default(),
                close_rate: None,
                close_rate_number: 0,
            };
            tx.insert_deployment(&deployment).await.unwrap().unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub(crate) async fn damage(&self, sql: &'static str) {
        let mut database = self.connect().await;
        assert_eq!(sqlx::query(sql).execute(&mut database).await.unwrap().rows_affected(), 1);
        database.close().await.unwrap();
    }

    pub(crate) async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.database.url()).await.unwrap()
    }

    /// A separate file of the embedded store.
    pub(crate) async fn connect_to_requests(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.database.url().replace("store.db", "requests.db")).await.unwrap()
    }

    pub(crate) async fn counted_requests(&self) -> i64 {
        let mut database = self.connect_to_requests().await;
        let (count,) = sqlx::query_as("SELECT COUNT(*) FROM request").fetch_one(&mut database).await.unwrap();
        database.close().await.unwrap();
        count
    }

    /// Without a request.
    pub(crate) async fn key(&self, scopes: &[Scope], projects: Option<&[&str]>) -> Login {
        self.key_and_login(scopes, projects).await.1
    }

    pub(crate) async fn key_and_login(&self, scopes: &[Scope], projects: Option<&[&str]>) -> (ApiKey, Login) {
        let keys = self.lifecycle.store().read().api_keys().await.unwrap();
        let actor = keys.into_iter().find(|key| key.name == "admin").unwrap();
        let ids: Option<Vec<ProjectId>> =
            projects.map(|ids| ids.iter().map(|id| ProjectId::parse(id).unwrap()).collect());
        let (key, secret) = self
            .lifecycle
            .create_key(&actor.key, &NewKey::new("test", scopes, ids.as_deref()))
            .await
            .unwrap();
        let login = Login::new(key.key.as_str(), secret.expose());
        (key.key, login)
    }

    /// A counted node.
    pub(crate) async fn node(&self) -> Member {
        let node = Member { id: node_1(), session: Session(1) };
        assert!(self.lifecycle.join(&node.id, node.session, async |_| true).await.unwrap());
        node
    }

    /// On the newest generation of `ge6a1a75`.
    pub(crate) async fn report(&self, node: &Member, proof: Result<(), ProofFailure>) {
        let (id, store) = (DeploymentId::parse("ge6a1a75").unwrap(), self.lifecycle.store());
        let generation = store.read().deployment(&id).await.unwrap().unwrap().generation;
        let as_of = store.read_as_member().newest_position().await.unwrap();
        let observation = Observation { id: &id, generation, as_of };
        self.lifecycle.report(node, &observation, proof).await.unwrap();
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request {
            address: self.address,
            from: 1,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![("Authorization".to_owned(), self.admin.0.clone())],
            body: None,
        }
    }

    pub(crate) fn get(&self, under_base: &str) -> Request {
        self.request("GET", &format!("{BASE}{under_base}"))
    }

    pub(crate) fn post(&self, under_base: &str) -> Request {
        self.request("POST", &format!("{BASE}{under_base}"))
    }

    pub(crate) fn put(&self, under_base: &str) -> Request {
        self.request("PUT", &format!("{BASE}{under_base}"))
    }

    pub(crate) fn patch(&self, under_base: &str) -> Request {
        self.request("PATCH", &format!("{BASE}{under_base}"))
    }

    pub(crate) fn delete(&self, under_base: &str) -> Request {
        self.request("DELETE", &format!("{BASE}{under_base}"))
    }

    /// The answer to a head that declares a body which is not sent.
    pub(crate) async fn declared(
        &self,
        method: &str,
        under_base: &str,
        media_type: &str,
        bytes: usize,
    ) -> Answer {
        let login = &self.admin.0;
        let head = format!(
            "{method} {BASE}{under_base} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {login}\r\n\
             Content-Type: {media_type}\r\nContent-Length: {bytes}\r\nExpect: 100-continue\r\n\r\n"
        );
        Answer::parse(&self.raw(head).await)
    }

    /// From `127.0.0.{last}`.
    pub(crate) async fn connect_from(&self, last: u8) -> TcpStream {
        connect_from(last, self.address).await
    }

    /// Sends raw bytes and reads to the close.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }
}

impl Database {
    fn address(&self) -> Address {
        match self {
            Self::Embedded(folder) => Address::Embedded(folder.path().to_owned()),
            Self::Postgres { url, .. } => Address::Postgres(Servers::parse([url]).unwrap()),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Embedded(folder) => format!("sqlite://{}/store.db", folder.path().display()),
            Self::Postgres { url, .. } => url.clone(),
        }
    }
}

async fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// With a deadline.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut bytes)).await;
    read.expect("the server closes the connection").unwrap();
    String::from_utf8(bytes).unwrap()
}

pub(crate) struct Request {
    address: SocketAddr,
    from: u8,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn login(self, login: &Login) -> Self {
        self.without("Authorization").header("Authorization", &login.0)
    }

    /// From `127.0.0.{last}`.
    pub(crate) fn from(mut self, last: u8) -> Self {
        self.from = last;
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut bytes = self.head().into_bytes();
        bytes.extend(self.body.as_deref().unwrap_or_default());
        let mut stream = connect_from(self.from, self.address).await;
        stream.write_all(&bytes).await.unwrap();
        let answer = Answer::parse(&read_to_end(&mut stream).await);
        conformance::check(&self.method, &self.path, &answer);
        answer
    }

    /// All but the body's last byte, once the server has asked for the body.
    pub(crate) async fn send_held(self) -> Held {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let request = self.header("Expect", "100-continue");
        let mut stream = TcpStream::connect(request.address).await.unwrap();
        stream.write_all(request.head().as_bytes()).await.unwrap();
        let mut interim = [0; CONTINUE.len()];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(interim, CONTINUE);
        let body = request.body.unwrap_or_default();
        let (last, rest) = body.split_last().expect("a request that has a body");
        stream.write_all(rest).await.unwrap();
        Held { stream, last: *last }
    }

    fn head(&self) -> String {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head + "\r\n"
    }

    /// The status and the error's code, `-` if none.
    pub(crate) async fn outcome(self) -> (u16, String) {
        let answer = self.send().await;
        (answer.status, answer.code())
    }
}

pub(crate) struct Held {
    stream: TcpStream,
    last: u8,
}

impl Held {
    pub(crate) async fn finish(mut self) -> Answer {
        self.stream.write_all(&[self.last]).await.unwrap();
        Answer::parse(&read_to_end(&mut self.stream).await)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        let mut answer = Self { status, headers: headers.collect(), text: body.to_owned() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.text = unchunked(body).expect("a whole answer");
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        match serde_json::from_str::<Value>(&self.text) {
            Ok(Value::Object(object)) => object.get("code").and_then(Value::as_str).unwrap_or("-").to_owned(),
            _ => "-".to_owned(),
        }
    }
}

pub(crate) const UPLOAD_ENDS: time::OffsetDateTime = time::macros::datetime!(2027-05-22 02:43:21 UTC);

/// Each with its own key.
pub(crate) fn upload() -> Value {
    let host = "ge6a1a75.example.com";
    let mut params = server_params(host, &[host]);
    params.not_after = UPLOAD_ENDS;
    Leaf::self_signed(params).one_way()
}

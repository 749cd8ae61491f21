//! The test bed: an empty store on either engine, and a manual clock.

use std::{path::Path, sync::Arc, time::Duration};

use certward_pki::{HostName, PrivateKey, TlsType};
use certward_store::{
    Address, Deployment, DeploymentId, DeploymentSpec, Generation, MasterKey, NodeId, ProjectId,
    RevocationMark, Servers, Session, Store, Timestamp, TlsState, TrustScope, Tx, UpstreamList, Version,
};
use certward_test_support::{HandClock, PostgresServer};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;

pub(crate) const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub(crate) const WITHOUT_BOUNDARIES: &str =
    "DROP INDEX deployment_unclaimed; ALTER TABLE deployment DROP COLUMN claimed;
    DROP TABLE upstream_claim; DROP TABLE host_suffix; ALTER TABLE project DROP COLUMN upstream_allow;
    DELETE FROM counter WHERE name = 'boundary';";

pub(crate) const WITHOUT_EXPIRY: &str = "DROP INDEX deployment_unlisted; ALTER TABLE deployment DROP COLUMN ending_version;
    ALTER TABLE api_key DROP COLUMN expires_at; DROP TABLE ending; DROP TABLE alert_delivery; DROP TABLE alert_channel;
    DROP TABLE alert; DELETE FROM counter WHERE name IN ('clock', 'expiry_rules');";

pub(crate) const WITHOUT_REKEY: &str = "DROP TABLE rekey;";
pub(crate) const WITHOUT_AUDIT_CHAIN: &str = "DROP INDEX audit_by_position; DROP TABLE audit_mark;
    ALTER TABLE audit DROP COLUMN project; ALTER TABLE audit DROP COLUMN deployment; ALTER TABLE audit DROP COLUMN address;
    ALTER TABLE audit DROP COLUMN request; ALTER TABLE audit DROP COLUMN refusal;
    ALTER TABLE audit DROP COLUMN fingerprint_before; ALTER TABLE audit DROP COLUMN fingerprint_after;
    ALTER TABLE audit DROP COLUMN position; ALTER TABLE audit DROP COLUMN master_key; ALTER TABLE audit DROP COLUMN mac;";

pub(crate) const WITHOUT_ROLLBACK: &str =
    "ALTER TABLE version DROP COLUMN accepted_by; ALTER TABLE version DROP COLUMN restores;";
pub(crate) const WITHOUT_REQUESTS: &str =
    "ALTER TABLE node_question DROP COLUMN request; ALTER TABLE node_question DROP COLUMN urgency;";
pub(crate) const WITHOUT_STOPPED_CHANGES: &str =
    "DROP INDEX alert_by_stopped_deployment; ALTER TABLE alert DROP COLUMN detail;";
pub(crate) const WITHOUT_REVOCATIONS: &str = "DROP TABLE crl_part; DROP TABLE crl; DROP TABLE revocation;
    DROP INDEX deployment_with_revocations; ALTER TABLE deployment DROP COLUMN revocation_count;
    ALTER TABLE deployment DROP COLUMN revocation_mark; ALTER TABLE deployment DROP COLUMN max_session_age; ALTER TABLE deployment DROP COLUMN close_rate; ALTER TABLE deployment DROP COLUMN close_rate_number;";
pub(crate) const WITHOUT_DEVICES: &str = "DROP TABLE device; DROP TABLE issuer_path; DROP TABLE device_total;
    DROP TABLE offer_day; DROP TABLE host_use;";

pub(crate) struct World {
    pub(crate) address: Address,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) store: Store,
    folder: Option<TempDir>,
    database: Option<(String, Arc<PostgresServer>)>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = Address::Embedded(folder.path().join("data"));
        Self::at(address, Some(folder), None).await
    }

    pub(crate) async fn postgres() -> Self {
        let server = PostgresServer::shared();
        let url = server.database();
        Self::at(postgres(&url), None, Some((url, server))).await
    }

    async fn at(
        address: Address,
        folder: Option<TempDir>,
        database: Option<(String, Arc<PostgresServer>)>,
    ) -> Self {
        let clock = Arc::new(HandClock::at(Timestamp(1_700_000_000_000)));
        let store = Store::init(&address, &master_key(), clock.clone()).await.expect("an empty store");
        Self { address, clock, store, folder, database }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.folder.is_none()
    }

    /// Like another process; on SQLite the first store is closed before.
    pub(crate) async fn reopen(&self) -> Store {
        self.store.close().await;
        Store::open(&self.address, &master_key(), self.clock.clone()).await.expect("it opens again")
    }

    pub(crate) async fn begin(&self) -> Tx {
        self.store.begin().await.expect("a transaction")
    }

    /// Past the store.
    pub(crate) async fn tamper(&self, sql: &str) {
        let mut conn = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.expect("done");
        conn.close().await.expect("closed");
    }

    pub(crate) async fn asked(&self, sql: &'static str) -> String {
        let mut conn = self.connect().await;
        let text = sqlx::query_scalar(sql).fetch_one(&mut conn).await.expect("answered");
        conn.close().await.expect("closed");
        text
    }

    /// SQLite has one writer: the second always waits.
    pub(crate) async fn until_one_waits(&self) {
        if !self.is_postgres() {
            return;
        }
        let waiting = "SELECT count(*)::text FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while self.asked(waiting).await == "0" {
            assert!(std::time::Instant::now() < deadline, "nothing waits for a lock");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn connect(&self) -> AnyConnection {
        let url = match &self.database {
            None => format!("sqlite://{}?mode=rw", self.data().join("store.db").display()),
            Some((url, _)) => url.clone(),
        };
        AnyConnection::connect(&url).await.expect("it connects")
    }

    pub(crate) async fn make_feed_older(&self, by: Duration) {
        self.tamper(&format!("UPDATE feed SET at = at - {}", by.as_millis())).await;
    }

    pub(crate) fn data(&self) -> &Path {
        match &self.address {
            Address::Embedded(folder) => folder,
            Address::Postgres(_) => panic!("only an embedded store has a folder"),
        }
    }

    pub(crate) async fn deployment(&self, id: &str) -> Deployment {
        let mut tx = self.begin().await;
        let mut deployment = deployment(id, "default", &[]);
        deployment.generation = tx.draw_generation(&deployment.id).await.expect("a generation");
        deployment.born = deployment.generation;
        tx.insert_deployment(&deployment).await.expect("written").expect("no host is taken");
        tx.commit().await.expect("committed");
        deployment
    }

    /// Committed.
    pub(crate) async fn upload(&self, id: &DeploymentId, key: &[u8]) -> Generation {
        let mut tx = self.begin().await;
        let generation = tx.draw_generation(id).await.expect("a generation");
        tx.insert_version(&version(id, generation), &private_key(key)).await.expect("written");
        let tls = TlsState::Pending { version: generation.into(), deadline: Timestamp(i64::MAX) };
        tx.set_tls(id, generation, &tls).await.expect("written");
        tx.commit().await.expect("committed");
        generation
    }

    pub(crate) async fn join_as(&self, node: &NodeId, session: Session, until: Timestamp) {
        let mut tx = self.begin().await;
        tx.hold_changes().await.expect("held");
        tx.join(node, session, until).await.expect("joined");
        tx.commit().await.expect("committed");
    }

    pub(crate) async fn join(&self, node: &NodeId, until: Timestamp) {
        self.join_as(node, Session(1), until).await;
    }

    pub(crate) async fn earlier(&self) -> Timestamp {
        self.store.now().await.expect("the time").before(Duration::from_millis(1))
    }

    pub(crate) async fn later(&self, by: Duration) -> Timestamp {
        self.store.now().await.expect("the time").after(by)
    }
}

pub(crate) fn postgres(url: &str) -> Address {
    Address::Postgres(Servers::parse([url]).expect("a URL"))
}

pub(crate) fn master_key() -> MasterKey {
    MasterKey::parse(MASTER_KEY).expect("64 digits")
}

pub(crate) fn private_key(bytes: &[u8]) -> PrivateKey {
    PrivateKey::from_pkcs8_der(bytes.to_vec().into())
}

pub(crate) fn id(text: &str) -> DeploymentId {
    DeploymentId::parse(text).expect("an id")
}

pub(crate) fn node(text: &str) -> NodeId {
    NodeId::parse(text).expect("an id")
}

pub(crate) fn project(text: &str) -> ProjectId {
    ProjectId::parse(text).expect("an id")
}

pub(crate) fn host(text: &str) -> HostName {
    HostName::parse(text).expect("a host")
}

pub(crate) fn deployment(id_text: &str, project_text: &str, hosts: &[&str]) -> Deployment {
    Deployment {
        id: id(id_text),
        project: project(project_text),
        spec: DeploymentSpec {
            name: format!("{id_text} for people"),
            hosts: hosts.iter().map(|name| host(name)).collect(),
            ..DeploymentSpec::new(UpstreamList::parse("127.0.0.1:1883").expect("an upstream"))
        },
        created_at: Timestamp(1_234_567),
        born: Generation(1),
        generation: Generation(1),
        tls: TlsState::Absent,
        revocations: RevocationMark::default(),
        close_rate: None,
        close_rate_number: 0,
    }
}

pub(crate) fn version(deployment: &DeploymentId, version: Generation) -> Version {
    Version {
        deployment: deployment.clone(),
        version: version.into(),
        tls_type: TlsType::TwoWay,
        chain: vec![vec![0x30, 0x82, 1], vec![0x30, 0, 255, 7]],
        client_cas: vec![vec![9; 40]],
        trust_scope: TrustScope([5; 16]),
        common_name: Some("mqtt.example.com".into()),
        not_after: Timestamp(1_800_000_000_000),
        findings: Vec::new(),
        created_at: Timestamp(1_700_000_000_001),
        proven: false,
        accepted_by: None,
        restores: None,
    }
}

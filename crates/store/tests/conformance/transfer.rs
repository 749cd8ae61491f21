//! An embedded store is copied to PostgreSQL.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use certward_pki::{DeviceIdentity, Profile, fingerprint};
use certward_store::{
    Address, AuditEntry, AuditOrigin, AuditPage, Clock, ConnectionLimit, ConnectionLimits, CopiedTable,
    Deployment, DeploymentSpec, DeviceBatch, FeedPosition, Generation, HostSighting, MasterKey, Method,
    NodeProcess, Project, Proxy, ProxyProtocol, RecordBytes, RequestLimit, Role, Scope, Servers, Store,
    StoreError, SystemClock, Timestamp, TlsState, TransferError, UpstreamList, VersionId, transfer,
};
use certward_test_support::PostgresServer;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use zeroize::Zeroizing;

use crate::{
    block_on, crls, devices, expiry, revocations,
    world::{
        WITHOUT_AUDIT_CHAIN, WITHOUT_BOUNDARIES, WITHOUT_DEVICES, WITHOUT_EXPIRY, WITHOUT_REKEY,
        WITHOUT_REVOCATIONS, WITHOUT_ROLLBACK, World, deployment, host, id, master_key, node, private_key,
        project, version,
    },
};

const NOT_COPIED: [&str; 6] =
    ["broker_trouble", "node", "node_answer", "node_count", "node_process", "node_question"];
const SQLITE_TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
const POSTGRES_TABLES: &str =
    "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()";
const LIMIT: RequestLimit = RequestLimit { requests: 6, window: Duration::from_secs(3600) };

/// Unshared.
fn target() -> (Arc<PostgresServer>, Zeroizing<String>) {
    let server = PostgresServer::shared();
    let url = server.database().into();
    (server, url)
}

fn servers(url: &str) -> Servers {
    Servers::parse([url]).expect("a URL")
}

async fn rows(url: &str, sql: &str) -> Vec<String> {
    let mut conn = AnyConnection::connect(url).await.expect("it connects");
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut conn).await.expect("read");
    conn.close().await.expect("closed");
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

fn sqlite_url(world: &World, file: &str) -> String {
    format!("sqlite://{}?mode=rw", world.data().join(file).display())
}

async fn transferred(world: &World, url: &Zeroizing<String>) -> Result<Vec<CopiedTable>, TransferError> {
    let mut told = Vec::new();
    let copied =
        transfer(world.data(), &servers(url), &master_key(), |table| told.push(table.clone())).await?;
    assert_eq!(told, copied, "each table is told of");
    Ok(copied)
}

async fn open(address: &Address, world: &World) -> Store {
    Store::open(address, &master_key(), world.clock.clone()).await.expect("it opens")
}

/// Every kind of row, several pages of some, unusual names and bytes.
async fn fill(world: &World) {
    // Continues by the database's clock.
    world.clock.set(SystemClock.now());
    let mut tx = world.begin().await;
    let other = Project {
        id: project("other"),
        name: "Zweites – 第二".into(),
        description: "'; --\n\t\u{1f512}".into(),
        created_at: Timestamp(-5),
        boundary: certward_store::Boundary::default(),
    };
    assert!(tx.insert_project(&other).await.expect("written"));
    let plain = deployment("rich", "other", &["*.example.org", "a_b.example.com", "localhost"]);
    let spec = DeploymentSpec {
        upstream: UpstreamList::parse("10.0.0.1:1883,broker.example.com:1884").expect("upstreams"),
        ws_upstream: Some(UpstreamList::parse("10.0.0.1:8083").expect("upstreams")),
        profile: Profile::EmqxCloud,
        proxy: Proxy { protocol: ProxyProtocol::V2, identity: DeviceIdentity::Fingerprint },
        limits: ConnectionLimits {
            at_once: ConnectionLimit::parse(7).expect("a limit"),
            ..Default::default()
        },
        record_bytes: RecordBytes::parse(512).expect("a size"),
        ..plain.spec
    };
    let rich = Deployment { spec, ..plain };
    tx.insert_deployment(&rich).await.expect("written").expect("free");
    tx.insert_api_key("everything", &[Scope::Admin], None, None).await.expect("written");
    tx.insert_api_key(
        "some",
        &[Scope::TlsRead, Scope::Deployments],
        Some(&[project("other")]),
        Some(Timestamp(5)),
    )
    .await
    .expect("written");
    expiry::fill(&mut tx).await;
    for number in 0..450 {
        let name = format!("d{number}");
        let hosts = [format!("h{number}.example.com")];
        let one = deployment(&name, "default", &hosts.each_ref().map(String::as_str));
        tx.insert_deployment(&one).await.expect("written").expect("free");
        tx.audit(AuditEntry {
            detail: "ä\n".into(),
            ..AuditEntry::new(AuditOrigin::certward(), "fill", name)
        });
    }
    tx.commit().await.expect("committed");
    let until = world.later(Duration::from_secs(60)).await;
    world.join(&node("n1"), until).await;
    world
        .store
        .record_process(&node("n1"), NodeProcess { role: Role::All, version: "1" }, None)
        .await
        .expect("heard");
    type State = fn(Generation) -> TlsState;
    let states: [(&str, State); 4] = [
        ("d1", |version| TlsState::Running { version: version.into() }),
        ("d2", |version| TlsState::Failed {
            version: version.into(), reason: "the broker's «wall»".into()
        }),
        ("d3", |version| TlsState::Pending { version: version.into(), deadline: Timestamp(i64::MAX) }),
        ("d4", |_| TlsState::Terminated),
    ];
    for (name, state) in states {
        let first = world.upload(&id(name), b"first key").await;
        let mut tx = world.begin().await;
        tx.mark_proven(&id(name), first.into()).await.expect("written");
        let second = tx.draw_generation(&id(name)).await.expect("a generation");
        let mut upload = version(&id(name), second);
        upload.common_name = None;
        tx.insert_version(&upload, &private_key(b"second key")).await.expect("written");
        tx.set_tls(&id(name), second, &state(second)).await.expect("written");
        tx.count_nodes(&id(name)).await.expect("counted");
        if name == "d4" {
            tx.erase_keys(&id(name)).await.expect("erased");
        }
        tx.commit().await.expect("committed");
    }
    world.store.secret_or_insert("tickets.1", b"a ticket key".to_vec().into()).await.expect("kept");
    let key = world.store.read().api_keys().await.expect("read").remove(0).key;
    for _ in 0..4 {
        assert!(world.store.admit(&key, "d1", Method::Put, LIMIT).await.expect("decided").admitted);
    }
    fill_devices(world).await;
    fill_revocations(world).await;
    world.tamper("DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)").await;
}

async fn fill_devices(world: &World) {
    let at = world.clock.now();
    let rich = world.store.read().deployment(&id("rich")).await.expect("read").expect("there").reference();
    let batch = DeviceBatch {
        devices: (0..450)
            .map(|number| {
                let path = devices::path((number % 210) as u16, number, at);
                devices::sighting(&rich, number, &path, at)
            })
            .collect(),
        offers: vec![devices::offer_hour(&rich, at.day(), &[29], 5)],
        hosts: vec![HostSighting { deployment: rich, host: "localhost".into(), at }],
    };
    world.store.record_devices(&batch).await.expect("recorded");
}

/// A CRL of many parts.
async fn fill_revocations(world: &World) {
    let rich = id("rich");
    revocations::add(world, &rich, &(0..450).collect::<Vec<_>>()).await;
    let der = crls::der(7, 20_000_000);
    crls::put(world, &rich, crls::crl("large", Some(crls::content(1, &der))), Some(&der)).await;
}

async fn everything(store: &Store) -> String {
    let deployments = store.read().deployments_after(None, u32::MAX).await.expect("read");
    let mut text = format!("{deployments:#?}");
    for deployment in &deployments {
        for generation in 1..=12 {
            let version = store.read().version(&deployment.id, VersionId(generation)).await.expect("read");
            let key =
                store.read().private_key(&deployment.id, VersionId(generation)).await.expect("it opens");
            let key = key.map(|key| key.expose_pkcs8_der().to_vec());
            if version.is_some() {
                text += &format!("{version:#?} {key:?}");
            }
        }
    }
    let (rich, now) = (id("rich"), Timestamp(0));
    text += &format!(
        "{:#?} {:#?} {:#?} {:#?} {:#?}",
        store.read().devices(&rich, None, 1_000).await.expect("read"),
        store.read().device_total(&rich).await.expect("read"),
        store.read().known_paths(&rich, now).await.expect("read"),
        store.read().offer_days(&rich, 0).await.expect("read"),
        store.read().hosts_in_use(&rich).await.expect("read"),
    );
    let found = store.read().deployment(&rich).await.expect("read").expect("there");
    let served = store.read().served_crl(&rich, &crls::crl_id("large")).await.expect("read").expect("there");
    text += &format!(
        "{:#?} {:?} {:#?} {} {}",
        store.read().revocations(&rich, None, 1_000).await.expect("read"),
        store.read().revocations_since(&found, None).await.expect("read"),
        store.read().crls(&rich).await.expect("read"),
        fingerprint(&served.der),
        store.read().revocation_total(&rich).await.expect("read").listed,
    );
    text += &format!("{:#?}", store.read().projects().await.expect("read"));
    text += &format!("{:#?}", store.read().api_keys().await.expect("read"));
    text += &format!(
        "{:#?}",
        store.read().audit(&AuditPage { limit: 10_000, ..AuditPage::default() }).await.expect("read")
    );
    text += &format!(
        "{:#?}",
        store
            .read_as_member()
            .feed_after(FeedPosition::START, FeedPosition::START, 10_000)
            .await
            .expect("read")
    );
    text += &format!("{:#?}", store.read().newest_generation().await.expect("read"));
    text += &format!("{:?}", store.read().secret("tickets.1").await.expect("it opens"));
    text += &format!("{:#?}", store.read().status_counts().await.expect("read"));
    text
}

#[test]
fn all_lasting_state_is_copied_and_continues() {
    block_on(async {
        let world = World::sqlite().await;
        fill(&world).await;
        let before = everything(&world.store).await;
        let audit_drawn = rows(
            &sqlite_url(&world, "store.db"),
            "SELECT CAST(seq AS TEXT) FROM sqlite_sequence WHERE name = 'audit'",
        )
        .await;
        world.store.close().await;
        let (_server, url) = target();
        let copied = transferred(&world, &url).await.expect("copied");
        let count = |name: &str| copied.iter().find(|table| table.table == name).map(|table| table.rows);
        assert_eq!((count("deployment"), count("audit"), count("request")), (Some(451), Some(450), Some(4)));
        assert_eq!((count("device"), count("issuer_path")), (Some(450), Some(200)));
        assert_eq!((count("offer_day"), count("host_use")), (Some(1), Some(1)));
        assert_eq!((count("revocation"), count("crl"), count("crl_part")), (Some(450), Some(1), Some(306)));

        let address = Address::Postgres(servers(&url));
        let moved = open(&address, &world).await;
        assert_eq!(everything(&moved).await, before);
        assert!(moved.nodes().await.expect("read").is_empty());
        assert!(moved.read().counts(&id("d3")).await.expect("read").is_empty());

        let newest = moved.read().newest_generation().await.expect("read");
        let mut tx = moved.begin().await.expect("a transaction");
        assert_eq!(tx.draw_generation(&id("d1")).await.expect("drawn"), Generation(newest.0 + 1));
        let taken = deployment("late", "default", &["x.example.org"]);
        tx.insert_deployment(&taken)
            .await
            .expect("written")
            .expect_err("another project's wildcard covers it");
        let spec = DeploymentSpec { hosts: vec![host("y.example.net")], ..taken.spec };
        let free = Deployment { spec, ..taken };
        tx.insert_deployment(&free).await.expect("written").expect("free");
        tx.audit(AuditEntry::new(AuditOrigin::certward(), "on", "s"));
        tx.commit().await.expect("committed");
        let number = rows(&url, "SELECT max(number)::text FROM audit").await;
        let next = |drawn: &[String]| drawn[0].parse::<i64>().expect("a number") + 1;
        assert_eq!(number[0].parse::<i64>().expect("a number"), next(&audit_drawn));
        let key = moved.read().api_keys().await.expect("read").remove(0).key;
        let mut admitted = 0;
        for _ in 0..4 {
            let admission = moved.admit(&key, "d1", Method::Put, LIMIT).await.expect("decided");
            admitted += u32::from(admission.admitted);
        }
        assert_eq!(admitted, 2, "of six, four were used before");
        moved.close().await;

        let left = world.reopen().await;
        assert_eq!(everything(&left).await, before);
    });
}

#[test]
fn no_table_is_forgotten() {
    block_on(async {
        let world = World::sqlite().await;
        world.store.close().await;
        let (_server, url) = target();
        let copied = transferred(&world, &url).await.expect("copied");
        let copied: BTreeSet<String> = copied.into_iter().map(|table| table.table).collect();
        let mut there: BTreeSet<String> = rows(&url, POSTGRES_TABLES).await.into_iter().collect();
        let mut here = BTreeSet::new();
        for file in ["store.db", "requests.db"] {
            here.extend(rows(&sqlite_url(&world, file), SQLITE_TABLES).await);
        }
        assert_eq!(there, here, "both engines have the same tables");
        there.retain(|name| name != "schema_version" && !NOT_COPIED.contains(&name.as_str()));
        assert_eq!(copied, there);
    });
}

#[test]
fn an_existing_target_is_never_overwritten() {
    block_on(async {
        let world = World::sqlite().await;
        world.store.close().await;
        let (_server, url) = target();
        transferred(&world, &url).await.expect("copied");
        let error = transferred(&world, &url).await.expect_err("a second time");
        assert!(matches!(error, TransferError::NotEmpty(_)), "{error}");

        // A foreign table of the same name.
        let (_server, url) = target();
        let mut conn = AnyConnection::connect(&url).await.expect("it connects");
        sqlx::raw_sql("CREATE TABLE host (mine TEXT)").execute(&mut conn).await.expect("made");
        let error = transferred(&world, &url).await.expect_err("it is another's");
        assert!(matches!(&error, TransferError::NotEmpty(name) if name == "host"), "{error}");
        assert_eq!(rows(&url, POSTGRES_TABLES).await, ["host"]);
    });
}

#[test]
fn a_source_that_cannot_be_taken_whole_leaves_the_target_empty() {
    block_on(async {
        let world = World::sqlite().await;
        let (_server, url) = target();
        let empty = async || rows(&url, POSTGRES_TABLES).await.is_empty();

        let error = transferred(&world, &url).await.expect_err("somebody has it");
        assert!(matches!(error, TransferError::Source(StoreError::InUse(_))), "{error}");
        world.store.close().await;

        let error = transfer(world.data(), &servers(&url), &MasterKey::generate(), |_| {})
            .await
            .expect_err("another's key");
        assert!(matches!(error, TransferError::Source(StoreError::WrongMasterKey)), "{error}");

        let nowhere = world.data().join("nowhere");
        let error =
            transfer(&nowhere, &servers(&url), &master_key(), |_| {}).await.expect_err("nothing there");
        assert!(matches!(error, TransferError::Source(StoreError::NotInitialised)), "{error}");
        assert!(!nowhere.exists(), "and nothing is made");

        world.tamper("UPDATE project SET name = x'ff00' WHERE id = 'default'").await;
        let error = transferred(&world, &url).await.expect_err("it cannot be read");
        assert!(matches!(error, TransferError::Source(StoreError::Corrupt(_))), "{error}");
        world.tamper("UPDATE project SET name = 'again' WHERE id = 'default'").await;

        world.tamper("UPDATE schema_version SET version = 1000, compatible = 1000").await;
        let error = transferred(&world, &url).await.expect_err("a later certward's");
        assert!(matches!(error, TransferError::Source(StoreError::TooNew(1000))), "{error}");
        assert!(empty().await);
    });
}

#[test]
fn a_key_that_does_not_open_is_not_taken_for_moved() {
    block_on(async {
        let world = World::sqlite().await;
        world.deployment("a").await;
        world.upload(&id("a"), b"key").await;
        world.store.close().await;
        world.tamper("UPDATE version SET sealed_key = zeroblob(length(sealed_key))").await;
        let (_server, url) = target();
        let error = transferred(&world, &url).await.expect_err("it does not open");
        assert!(matches!(error, TransferError::Target(StoreError::Sealed(_))), "{error}");
        assert!(rows(&url, POSTGRES_TABLES).await.is_empty());
    });
}

#[test]
fn a_store_of_an_earlier_release_is_brought_up_to_date_on_the_way_only() {
    block_on(async {
        let world = World::sqlite().await;
        world.deployment("a").await;
        world.store.close().await;
        // The schema of the first release.
        world
            .tamper(
                "ALTER TABLE deployment DROP COLUMN profile; ALTER TABLE deployment DROP COLUMN proxy_protocol;
                 ALTER TABLE deployment DROP COLUMN proxy_identity; ALTER TABLE deployment DROP COLUMN connections_max;
                 ALTER TABLE deployment DROP COLUMN connection_rate_max;
                 ALTER TABLE feed DROP COLUMN nonce; ALTER TABLE node DROP COLUMN session;
                 ALTER TABLE deployment DROP COLUMN born; ALTER TABLE deployment DROP COLUMN record_bytes;",
            )
            .await;
        world.tamper(WITHOUT_BOUNDARIES).await;
        world.tamper(WITHOUT_EXPIRY).await;
        world.tamper("DROP TABLE broker_trouble; DROP TABLE node_question; DROP TABLE node_answer").await;
        world.tamper(WITHOUT_REKEY).await;
        world.tamper(WITHOUT_AUDIT_CHAIN).await;
        world.tamper(WITHOUT_ROLLBACK).await;
        world.tamper(WITHOUT_DEVICES).await;
        world.tamper(WITHOUT_REVOCATIONS).await;
        world.tamper("UPDATE schema_version SET version = 1 WHERE part = 'store';").await;
        let (_server, url) = target();
        transferred(&world, &url).await.expect("copied");
        let version =
            rows(&sqlite_url(&world, "store.db"), "SELECT CAST(version AS TEXT) FROM schema_version").await;
        assert_eq!(version, ["1"], "the source is as it was");
        let moved = open(&Address::Postgres(servers(&url)), &world).await;
        let there = moved.read().deployment(&id("a")).await.expect("read").expect("it is there");
        assert_eq!((there.spec.profile, there.spec.name.as_str()), (Profile::Default, "a for people"));
        moved.close().await;
    });
}

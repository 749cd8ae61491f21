//! A list of PostgreSQL servers, and the node's memory of its database.

use std::{path::Path, sync::Arc, time::Duration};

use certward_store::{Address, MasterKey, Servers, Store, StoreError, SystemClock};
use certward_test_support::PostgresServer;

use crate::{block_on, world::master_key};

fn server() -> (PostgresServer, String) {
    let server = PostgresServer::start_on_tcp();
    let database = server.database();
    let url = server.tcp_url(database.rsplit('/').next().expect("a name"));
    (server, url)
}

fn address<'a>(urls: impl IntoIterator<Item = &'a String>, file: Option<&Path>) -> Address {
    let servers = Servers::parse(urls).expect("URLs");
    Address::Postgres(match file {
        Some(file) => servers.remembering(file.to_owned()),
        None => servers,
    })
}

async fn init(url: &String, key: &MasterKey) {
    let clock = Arc::new(SystemClock);
    Store::init(&address([url], None), key, clock).await.expect("made").close().await;
}

async fn open(address: &Address) -> Result<Store, StoreError> {
    Store::open(address, &master_key(), Arc::new(SystemClock)).await
}

async fn refusal(address: &Address) -> String {
    match open(address).await {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("it is refused: {other:?}"),
    }
}

fn pings(server: &PostgresServer, url: &str) -> String {
    server.query(url.rsplit('/').next().expect("a name"), "SELECT value FROM counter WHERE name = 'ping'")
}

#[test]
fn another_database_in_the_list_is_named_and_never_used() {
    block_on(async {
        let (mut right, right_url) = server();
        let (wrong, wrong_url) = server();
        init(&right_url, &master_key()).await;
        // A valid copy of this store.
        init(&wrong_url, &master_key()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("database.seen");

        // Which is meant is unknown so far.
        let why = refusal(&address([&right_url, &wrong_url], Some(&file))).await;
        let names =
            |url: &str| url.rsplit('@').next().and_then(|rest| rest.split('/').next()).map(str::to_owned);
        for name in [names(&right_url), names(&wrong_url)] {
            let name = name.expect("host and port");
            assert!(why.contains(&name) && why.contains("are different databases"), "{why}");
        }
        assert!(!file.exists());

        // Known from now on, in any order, to the next process.
        open(&address([&right_url], Some(&file))).await.expect("the right one").close().await;
        for urls in [[&right_url, &wrong_url], [&wrong_url, &right_url]] {
            let store = open(&address(urls, Some(&file))).await.expect("the right one");
            let before = (pings(&right, &right_url), pings(&wrong, &wrong_url));
            store.ping().await.expect("it can be written");
            assert_ne!(pings(&right, &right_url), before.0);
            assert_eq!(pings(&wrong, &wrong_url), before.1);
            store.close().await;
        }

        // Without the right one none is used; the error says how to choose the other.
        let store = open(&address([&wrong_url, &right_url], Some(&file))).await.expect("the right one");
        right.stop();
        let error = store.ping().await.expect_err("it is gone");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let why = refusal(&address([&right_url, &wrong_url], Some(&file))).await;
        assert!(why.contains("another database than the one that this node has used"), "{why}");
        assert!(why.contains(&format!("remove {}", file.display())), "{why}");
        right.resume();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while store.read().newest_generation().await.is_err() {
            assert!(std::time::Instant::now() < deadline, "it is found again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        store.close().await;
        std::fs::remove_file(&file).expect("removed");
        open(&address([&wrong_url], Some(&file))).await.expect("it was meant").close().await;
        let why = refusal(&address([&right_url], Some(&file))).await;
        assert!(why.contains("another database"), "{why}");
    });
}

#[test]
fn a_database_of_another_master_key_or_without_a_store_is_not_remembered() {
    block_on(async {
        let server = PostgresServer::shared();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("database.seen");
        let (empty, foreign, own) = (server.database(), server.database(), server.database());
        init(&foreign, &MasterKey::generate()).await;
        init(&own, &master_key()).await;
        let error = open(&address([&empty], Some(&file))).await.expect_err("nothing there");
        assert!(matches!(error, StoreError::NotInitialised), "{error}");
        let error = open(&address([&foreign], Some(&file))).await.expect_err("another's");
        assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
        assert!(!file.exists());
        open(&address([&own], Some(&file))).await.expect("its own").close().await;
        assert!(file.exists());
        for other in [&empty, &foreign] {
            let why = refusal(&address([other], Some(&file))).await;
            assert!(why.contains("another database"), "{why}");
        }
    });
}

#[test]
fn a_primary_that_was_replaced_is_not_used_by_a_new_process_either() {
    block_on(async {
        let (primary, primary_url) = server();
        init(&primary_url, &master_key()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("database.seen");
        let standby = primary.start_synchronous_standby();
        let standby_url = standby.tcp_url(primary_url.rsplit('/').next().expect("a name"));
        let both = address([&primary_url, &standby_url], Some(&file));
        open(&both).await.expect("the primary").close().await;
        standby.promote();
        // Without its standby it takes writes, like a primary that returns after a crash.
        primary.query("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
        primary.query("postgres", "SELECT pg_reload_conf()");
        open(&both).await.expect("the new primary").close().await;

        let old = address([&primary_url], Some(&file));
        let why = refusal(&old).await;
        assert!(why.contains("a standby was promoted in its place"), "{why}");
        assert!(why.contains(&format!("remove {}", file.display())), "{why}");
        open(&address([&primary_url, &standby_url], Some(&file)))
            .await
            .expect("the new primary")
            .close()
            .await;
        std::fs::remove_file(&file).expect("removed");
        open(&old).await.expect("it was meant").close().await;
    });
}

use certward_store::{Deployment, Generation, MasterKey, Store, StoreError};

use crate::{
    on_both_engines,
    world::{
        WITHOUT_AUDIT_CHAIN, WITHOUT_BOUNDARIES, WITHOUT_DEVICES, WITHOUT_EXPIRY, WITHOUT_REKEY,
        WITHOUT_REVOCATIONS, WITHOUT_ROLLBACK, World, deployment, master_key,
    },
};

on_both_engines![
    a_store_opens_with_its_own_master_key_only,
    init_leaves_an_existing_store_unchanged,
    a_store_of_a_newer_release_does_not_open,
    a_store_that_a_newer_release_widened_is_worked_on_side_by_side,
    a_store_of_the_first_release_is_widened_and_loses_nothing,
    a_secret_is_made_once_and_kept,
    secrets_are_removed_by_a_range_of_names,
    a_secret_asked_for_by_many_at_once_is_one,
    the_store_says_that_it_can_be_written,
    nothing_secret_is_in_any_debug_text,
];

async fn a_store_opens_with_its_own_master_key_only(world: World) {
    world.store.close().await;
    let error =
        Store::open(&world.address, &MasterKey::generate(), world.clock.clone()).await.expect_err("refused");
    assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
    let error =
        Store::init(&world.address, &MasterKey::generate(), world.clock.clone()).await.expect_err("refused");
    assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
    Store::open(&world.address, &master_key(), world.clock.clone()).await.expect("it opens");
}

async fn init_leaves_an_existing_store_unchanged(world: World) {
    let made = world.deployment("a").await;
    let generation = world.upload(&made.id, b"key").await;
    world.store.close().await;
    assert!(Store::is_initialised(&world.address).await.expect("answered"));
    let store = Store::init(&world.address, &master_key(), world.clock.clone()).await.expect("it opens");
    assert!(store.read().private_key(&made.id, generation.into()).await.expect("opens").is_some());
    assert_eq!(store.read().projects().await.expect("read").len(), 1);
}

async fn a_store_of_the_first_release_is_widened_and_loses_nothing(world: World) {
    let made = world.deployment("a").await;
    for column in [
        "profile",
        "proxy_protocol",
        "proxy_identity",
        "connections_max",
        "connection_rate_max",
        "born",
        "record_bytes",
    ] {
        world.tamper(&format!("ALTER TABLE deployment DROP COLUMN {column}")).await;
    }
    world.tamper("ALTER TABLE feed DROP COLUMN nonce").await;
    world.tamper("ALTER TABLE node DROP COLUMN session").await;
    world.tamper("DROP TABLE node_process").await;
    world.tamper(WITHOUT_BOUNDARIES).await;
    world.tamper(WITHOUT_EXPIRY).await;
    world.tamper("DROP TABLE broker_trouble; DROP TABLE node_question; DROP TABLE node_answer").await;
    world.tamper(WITHOUT_REKEY).await;
    world.tamper(WITHOUT_AUDIT_CHAIN).await;
    world.tamper(WITHOUT_ROLLBACK).await;
    world.tamper(WITHOUT_DEVICES).await;
    world.tamper(WITHOUT_REVOCATIONS).await;
    world.tamper("UPDATE schema_version SET version = 1 WHERE part = 'store'").await;
    let store = world.reopen().await;
    let before_it_was_kept = Deployment { born: Generation(0), ..made };
    let read = store.read().deployment(&before_it_was_kept.id).await.expect("read");
    assert_eq!(read, Some(before_it_was_kept.clone()));
    // Counts without stored claims.
    let elsewhere = deployment("b", "another", &[]);
    assert_eq!(
        store.read().shared_upstreams(&elsewhere).await.expect("read"),
        before_it_was_kept.spec.upstream.as_slice()
    );
}

async fn a_store_of_a_newer_release_does_not_open(world: World) {
    world.tamper("UPDATE schema_version SET version = 1000, compatible = 1000 WHERE part = 'store'").await;
    world.store.close().await;
    for opened in [
        Store::open(&world.address, &master_key(), world.clock.clone()).await,
        Store::init(&world.address, &master_key(), world.clock.clone()).await,
    ] {
        let error = opened.expect_err("refused");
        assert!(matches!(error, StoreError::TooNew(1000)), "{error}");
    }
}

async fn a_store_that_a_newer_release_widened_is_worked_on_side_by_side(world: World) {
    let made = world.deployment("a").await;
    world.tamper("ALTER TABLE deployment ADD COLUMN of_the_future BIGINT NOT NULL DEFAULT 7").await;
    world.tamper("UPDATE schema_version SET version = 1000, compatible = 4 WHERE part = 'store'").await;
    let store = world.reopen().await;
    assert!(store.read().deployment(&made.id).await.expect("read").is_some());
    let mut tx = store.begin().await.expect("a transaction");
    tx.draw_generation(&made.id).await.expect("a generation");
    tx.insert_deployment(&deployment("b", "default", &[])).await.expect("written").expect("no host is taken");
    tx.commit().await.expect("committed");
    world.tamper("UPDATE deployment SET of_the_future = 8").await;
    // The schema was not set back.
    store.close().await;
    world.tamper("UPDATE schema_version SET compatible = 1000 WHERE part = 'store' AND version = 1000").await;
    let error =
        Store::open(&world.address, &master_key(), world.clock.clone()).await.expect_err("contracted");
    assert!(matches!(error, StoreError::TooNew(1000)), "{error}");
}

async fn a_secret_is_made_once_and_kept(world: World) {
    let ask = async |store: &Store, name: &str, make: &[u8]| {
        store.secret_or_insert(name, make.to_vec().into()).await.expect("answered").to_vec()
    };
    assert_eq!(ask(&world.store, "tickets", b"first").await, b"first");
    assert_eq!(ask(&world.store, "tickets", b"second").await, b"first");
    // The store's own records are apart.
    assert_eq!(ask(&world.store, "store.check", b"mine").await, b"mine");
    let store = world.reopen().await;
    assert_eq!(ask(&store, "tickets", b"third").await, b"first");
}

async fn secrets_are_removed_by_a_range_of_names(world: World) {
    let names = ["keys", "keys.01", "keys.02", "keys.03", "keyt", "other"];
    for name in names {
        world.store.secret_or_insert(name, name.as_bytes().to_vec().into()).await.expect("kept");
    }
    assert_eq!(world.store.read().secret("missing").await.expect("read"), None);
    assert_eq!(world.store.remove_secrets("keys", "keys.02").await.expect("removed"), 2);
    assert_eq!(world.store.remove_secrets("keys", "keys.02").await.expect("nothing there"), 0);
    for (name, stays) in names.into_iter().zip([false, false, true, true, true, true]) {
        let found = world.store.read().secret(name).await.expect("read");
        assert_eq!(found.map(|found| found.to_vec()), stays.then(|| name.as_bytes().to_vec()), "{name}");
    }
    // Keeps the store's own records.
    world.store.remove_secrets("", "\u{7f}").await.expect("removed");
    let store = world.reopen().await;
    assert_eq!(store.read().secret("other").await.expect("read"), None);
}

async fn a_secret_asked_for_by_many_at_once_is_one(world: World) {
    let asks: Vec<_> = (0..8_u8)
        .map(|n| {
            let store = world.store.clone();
            tokio::spawn(async move {
                store.secret_or_insert("one", vec![n].into()).await.expect("answered").to_vec()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for ask in asks {
        answers.push(ask.await.expect("no panic"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

async fn the_store_says_that_it_can_be_written(world: World) {
    world.store.ping().await.expect("it can");
    world.store.ping().await.expect("it can");
}

async fn nothing_secret_is_in_any_debug_text(world: World) {
    let text = format!("{:?} {:?} {:?}", world.store, world.address, master_key());
    assert!(!text.contains(crate::world::MASTER_KEY), "{text}");
    assert!(!text.contains("postgres://"), "{text}");
}

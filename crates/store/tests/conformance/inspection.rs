use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use certward_store::{Address, MasterKey, SchemaState, StoreError, StoreInspection, Timestamp};

use crate::{
    block_on, on_both_engines,
    world::{World, master_key},
};

on_both_engines![
    a_store_is_read_beside_the_process_that_uses_it,
    an_older_store_is_not_migrated,
    a_newer_store_and_another_key_are_named,
];

async fn inspect(world: &World) -> StoreInspection {
    StoreInspection::open(&world.address).await.expect("opened")
}

async fn a_store_is_read_beside_the_process_that_uses_it(world: World) {
    let made = world.deployment("a").await;
    world.upload(&made.id, b"key").await;
    let inspection = inspect(&world).await;
    assert_eq!(inspection.schema().await.expect("asked"), SchemaState::Current);
    assert_eq!(inspection.faults().await.expect("asked"), [""; 0]);
    assert_eq!(inspection.deployments().await.expect("asked"), 1);
    inspection.verify(&(&master_key()).into()).await.expect("it is this one");
    let newest = inspection.newest_time().await.expect("asked").expect("an upload");
    assert!(newest >= Timestamp(1_700_000_000_000), "{newest:?}");
    assert_eq!(inspection.primary().is_some(), world.is_postgres());
    assert_eq!(inspection.database_time().await.expect("asked").is_some(), world.is_postgres());
    let read = inspection.read(&(&master_key()).into()).deployments_after(None, 9).await.expect("read");
    assert_eq!(read.len(), 1);
    // What is written after the open is seen.
    world.deployment("b").await;
    assert_eq!(inspection.deployments().await.expect("asked"), 2);
    inspection.close().await;
    world.deployment("c").await;
}

async fn an_older_store_is_not_migrated(world: World) {
    world.tamper("UPDATE schema_version SET version = 3 WHERE part = 'store'").await;
    let inspection = inspect(&world).await;
    let state = inspection.schema().await.expect("asked");
    assert!(matches!(state, SchemaState::Older { version: 3, newest } if newest > 3), "{state:?}");
    inspection.close().await;
    let version = "SELECT CAST(version AS TEXT) FROM schema_version WHERE part = 'store'";
    assert_eq!(world.asked(version).await, "3");
}

async fn a_newer_store_and_another_key_are_named(world: World) {
    let inspection = inspect(&world).await;
    let error = inspection.verify(&(&MasterKey::generate()).into()).await.expect_err("another");
    assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
    world.tamper("UPDATE schema_version SET version = 999, compatible = 999 WHERE part = 'store'").await;
    let error = inspection.schema().await.expect_err("newer");
    assert!(matches!(error, StoreError::TooNew(999)), "{error}");
}

/// Names, modes and contents.
fn state_of(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let mode = entry.metadata().expect("metadata").permissions().mode();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, (mode, fs::read(entry.path()).expect("read")))
        })
        .collect()
}

#[test]
fn a_look_at_an_embedded_store_changes_no_file() {
    block_on(async {
        let world = World::sqlite().await;
        world.deployment("a").await;
        world.store.close().await;
        let store = world.data().join("store.db");
        fs::set_permissions(&store, fs::Permissions::from_mode(0o640)).expect("set");
        fs::remove_file(world.data().join("requests.db")).expect("removed");
        let before = state_of(world.data());
        let inspection = inspect(&world).await;
        inspection.schema().await.expect("asked");
        inspection.faults().await.expect("asked");
        inspection.read(&(&master_key()).into()).deployments_after(None, 9).await.expect("read");
        inspection.close().await;
        assert!(state_of(world.data()) == before, "{:?}", state_of(world.data()).keys());
    });
}

#[test]
fn a_damaged_file_and_a_missing_store_are_named() {
    block_on(async {
        let world = World::sqlite().await;
        world.deployment("a").await;
        let root = "SELECT CAST(rootpage AS TEXT) FROM sqlite_master WHERE name = 'ending_by_end'";
        let root: usize = world.asked(root).await.parse().expect("a page");
        world.store.close().await;
        let none = Address::Embedded(world.data().join("none"));
        let error = StoreInspection::open(&none).await.expect_err("no store");
        assert!(matches!(error, StoreError::NotInitialised), "{error}");
        assert!(!world.data().join("none").exists(), "not made");

        let store = world.data().join("store.db");
        let bytes = fs::read(&store).expect("read");
        let damage = |page: usize| {
            let mut damaged = bytes.clone();
            damaged[page * 4096..][..64].fill(0xff);
            fs::write(&store, damaged).expect("written");
        };
        // An index.
        damage(root - 1);
        let inspection = inspect(&world).await;
        let faults = inspection.faults().await;
        assert!(matches!(&faults, Ok(faults) if !faults.is_empty()), "{faults:?}");
        inspection.close().await;
        // The schema as well.
        damage(0);
        let error = StoreInspection::open(&world.address).await.expect_err("no database");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    });
}

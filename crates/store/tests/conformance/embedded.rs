//! The embedded store only: a folder of files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use certward_store::{Address, Generation, Method, RequestLimit, Store, StoreError};
use sqlx::{AnyConnection, Connection};

use crate::{
    block_on,
    world::{World, id, master_key},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn only_the_owner_reads_the_folder_and_its_files() {
    block_on(async {
        let world = World::sqlite().await;
        world.deployment("a").await;
        let key = certward_store::ApiKey::parse("k").expect("a key");
        let limit = RequestLimit { requests: 1, window: Duration::from_secs(60) };
        world.store.admit(&key, "a", Method::Get, limit).await.expect("decided");
        assert_eq!(mode(world.data()), 0o700);
        let files: Vec<_> = fs::read_dir(world.data()).expect("a folder").flatten().collect();
        let names: Vec<_> =
            files.iter().map(|file| file.file_name().into_string().expect("a name")).collect();
        for name in ["store.db", "store.db-wal", "store.db-shm", "requests.db", "requests.db-wal", "lock"] {
            assert!(names.iter().any(|there| there == name), "{name} is not among {names:?}");
        }
        for file in files {
            assert_eq!(mode(&file.path()), 0o600, "{}", file.path().display());
        }
    });
}

#[test]
fn a_folder_that_others_could_read_is_closed_to_them() {
    block_on(async {
        let world = World::sqlite().await;
        world.store.close().await;
        fs::set_permissions(world.data(), fs::Permissions::from_mode(0o755)).expect("set");
        fs::set_permissions(world.data().join("store.db"), fs::Permissions::from_mode(0o644)).expect("set");
        let _store = world.reopen().await;
        assert_eq!(mode(world.data()), 0o700);
        assert_eq!(mode(&world.data().join("store.db")), 0o600);
    });
}

#[test]
fn a_folder_that_is_not_certwards_own_is_not_closed_to_others() {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("somebody")).expect("a folder in it");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let address = Address::Embedded(folder.path().to_owned());
        let clock = World::sqlite().await.clock;
        let error = Store::init(&address, &master_key(), clock).await.expect_err("refused");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(mode(folder.path()), 0o755);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing was made");
    });
}

#[test]
fn a_folder_in_use_is_refused_until_it_is_free() {
    block_on(async {
        let world = World::sqlite().await;
        for refused in [
            Store::open(&world.address, &master_key(), world.clock.clone()).await.map(drop),
            Store::init(&world.address, &master_key(), world.clock.clone()).await.map(drop),
            Store::is_initialised(&world.address).await.map(drop),
        ] {
            let error = refused.expect_err("in use");
            assert!(matches!(error, StoreError::InUse(_)), "{error}");
        }
        world.deployment("a").await;
        world.reopen().await;
    });
}

#[test]
fn what_was_never_initialised_is_neither_opened_nor_made() {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = World::sqlite().await.clock;
        for path in [folder.path().join("none"), folder.path().to_owned()] {
            let address = Address::Embedded(path);
            assert!(!Store::is_initialised(&address).await.expect("answered"));
            let error = Store::open(&address, &master_key(), clock.clone()).await.expect_err("nothing there");
            assert!(matches!(error, StoreError::NotInitialised), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was made");
    });
}

#[test]
fn a_folder_with_an_odd_name_works() {
    block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a b?mode=ro#c%20d \u{e4}");
        let clock = World::sqlite().await.clock;
        let store = Store::init(&Address::Embedded(path.clone()), &master_key(), clock).await.expect("made");
        store.ping().await.expect("written");
        assert!(path.join("store.db").metadata().expect("there").len() > 0);
    });
}

#[test]
fn key_bytes_are_found_in_no_file() {
    block_on(async {
        let world = World::sqlite().await;
        let made = world.deployment("a").await;
        let canary = b"CANARY-5f1f-PRIVATE-KEY-BYTES-9c77";
        let generation = world.upload(&made.id, canary).await;
        assert!(!found(world.data(), canary), "after the upload");
        let one = world.upload(&made.id, canary).await;
        let sealed_one = sealed_key(&world, one).await;
        assert!(found(world.data(), &sealed_one), "the search finds what is there");
        let mut tx = world.begin().await;
        tx.erase_key(&made.id, one.into()).await.expect("erased");
        tx.commit().await.expect("committed");
        world.store.overwrite_erased().await.expect("done");
        assert!(!found(world.data(), &sealed_one), "the sealed bytes are overwritten, in the log too");
        let sealed = sealed_key(&world, generation).await;
        assert!(found(world.data(), &sealed), "the search finds what is there");
        let mut tx = world.begin().await;
        tx.erase_keys(&made.id).await.expect("erased");
        tx.commit().await.expect("committed");
        assert!(!found(world.data(), canary), "after erasing");
        world.store.prune(Duration::from_secs(60)).await.expect("pruned");
        assert!(!found(world.data(), &sealed), "the sealed bytes are overwritten, in the log too");
        world.store.close().await;
        assert!(!found(world.data(), canary), "after closing");
    });
}

async fn sealed_key(world: &World, version: Generation) -> Vec<u8> {
    let url = format!("sqlite://{}?mode=rw", world.data().join("store.db").display());
    let mut conn = AnyConnection::connect(&url).await.expect("it connects");
    let sealed = sqlx::query_scalar("SELECT sealed_key FROM version WHERE version = $1")
        .bind(version.0)
        .fetch_one(&mut conn)
        .await
        .expect("there");
    conn.close().await.expect("closed");
    sealed
}

fn found(folder: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(folder).expect("a folder").flatten();
    files
        .map(|file| fs::read(file.path()).expect("readable"))
        .any(|text| text.windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn a_locked_database_is_unavailable_reads_go_on_and_it_recovers() {
    block_on(async {
        let world = World::sqlite().await;
        let made = world.deployment("a").await;
        let url = format!("sqlite://{}?mode=rw", world.data().join("store.db").display());
        let mut other = AnyConnection::connect(&url).await.expect("it connects");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
        let started = Instant::now();
        let error = world.store.begin().await.expect_err("locked");
        assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("locked")), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10), "bounded");
        assert!(world.store.read().deployment(&made.id).await.expect("read").is_some(), "reads go on");
        sqlx::query("ROLLBACK").execute(&mut other).await.expect("free again");
        world.deployment("b").await;
    });
}

#[test]
fn a_damaged_row_is_corrupt_and_its_values_are_not_told() {
    block_on(async {
        let world = World::sqlite().await;
        let made = world.deployment("a").await;
        let generation = world.upload(&made.id, b"key").await;
        let faults = [
            "UPDATE deployment SET tls_state = 'CANARY'",
            "UPDATE deployment SET tls_state = 'running', tls_version = NULL",
            "UPDATE deployment SET tls_version = 3, upstream = 'CANARY'",
            "UPDATE deployment SET upstream = 'a:1', generation = 'CANARY'",
        ];
        for fault in faults {
            world.tamper(fault).await;
            let error = world.store.read().deployment(&made.id).await.expect_err("unreadable");
            assert!(matches!(error, StoreError::Corrupt(_)), "{fault}: {error}");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{fault}: {error:?}");
        }
        for fault in [
            "chain = x'00000005'",
            "chain = x'', findings = 'CANARY'",
            "findings = '[]', trust_scope = x'00'",
        ] {
            world.tamper(&format!("UPDATE version SET {fault}")).await;
            let error =
                world.store.read().version(&made.id, generation.into()).await.expect_err("unreadable");
            assert!(matches!(error, StoreError::Corrupt(_)), "{fault}: {error}");
        }
        for sealed in [
            "x''",
            "x'01'",
            "CAST(x'02' || substr(sealed_key, 2) AS BLOB)",
            "substr(sealed_key, 1, length(sealed_key) - 1)",
        ] {
            world.tamper(&format!("UPDATE version SET sealed_key = {sealed}")).await;
            let error =
                world.store.read().private_key(&made.id, generation.into()).await.expect_err("unreadable");
            assert!(matches!(error, StoreError::Sealed(_)), "{sealed}: {error}");
        }
    });
}

#[test]
fn a_step_that_was_given_up_half_way_spoils_the_transaction_and_nothing_else() {
    block_on(async {
        let world = World::sqlite().await;
        // Again if the database was faster.
        let tx = loop {
            let mut tx = world.begin().await;
            if futures_util::FutureExt::now_or_never(tx.draw_generation(&id("a"))).is_none() {
                break tx;
            }
        };
        let error = tx.commit().await.expect_err("refused");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(world.store.read().newest_generation().await.expect("read"), Generation(0));
        world.deployment("a").await;
    });
}

#[test]
fn a_folder_passes_from_one_process_to_the_next_and_no_other_gets_in_between() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (address, key) = (Address::Embedded(folder.path().to_owned()), master_key());
        let clock = || std::sync::Arc::new(certward_store::SystemClock);
        let old = Store::init(&address, &key, clock()).await.unwrap();
        let in_use = async || matches!(Store::open(&address, &key, clock()).await, Err(StoreError::InUse(_)));

        let new = Store::open_beside(&address, &key, clock()).await.unwrap();
        assert!(in_use().await && matches!(new.take_folder(), Err(StoreError::InUse(_))));
        new.adopt_folder(old.share_folder().unwrap().unwrap()).unwrap();
        old.release_folder();
        assert!(in_use().await, "the new one has it");
        assert!(
            old.read().projects().await.is_ok() && new.read().projects().await.is_ok(),
            "both use the store"
        );
        old.close().await;
        assert!(in_use().await, "the old one's end takes nothing from the new one");
        let mut tx = new.begin().await.unwrap();
        tx.draw_generation(&certward_store::DeploymentId::parse("d").unwrap()).await.unwrap();
        tx.commit().await.unwrap();

        let foreign = std::fs::File::create(folder.path().join("foreign")).unwrap();
        assert!(matches!(new.adopt_folder(foreign.into()), Err(StoreError::InUse(_))));
        new.close().await;
        assert!(!in_use().await);
    })
}

//! A node's replica of what it serves.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use certward_store::{
    CopyError, Deployment, DeploymentId, FeedPosition, Generation, MasterKey, ProofState, Reader, Replica,
    StoreError, TlsState, Version,
};
use sqlx::{Connection, Row};
use tempfile::TempDir;

use crate::{
    on_both_engines,
    world::{World, host, id, master_key},
};

on_both_engines![
    a_copy_reads_as_the_store_does_and_its_keys_open,
    only_what_is_served_and_what_could_be_fallen_back_to_is_copied,
    a_deletion_erases_the_keys_and_a_removal_everything,
    one_erased_key_is_overwritten_and_the_others_stay,
    pages_copy_what_differs_and_remove_what_is_gone,
    what_was_read_earlier_undoes_nothing_where_there_is_a_mark,
    a_host_that_moved_is_its_new_deployments_whichever_is_copied_first,
    a_deployment_that_cannot_be_read_is_refused_alone_and_keeps_its_names,
    a_replica_outlives_the_process_with_its_mark,
    a_replica_of_another_store_or_history_is_recognised,
    what_is_no_snapshot_is_not_opened,
    a_half_made_replica_counts_as_none,
    session_ticket_keys_are_copied_sealed_and_removed,
    a_lost_store_and_a_lost_disk_are_told_apart,
];

struct Copying {
    snapshot: Replica,
    folder: TempDir,
}

impl Copying {
    async fn of(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshot = Replica::at(folder.path(), &master_key());
        assert!(!snapshot.open().await.expect("nothing there"));
        snapshot.make(&world.store).await.expect("made");
        Self { snapshot, folder }
    }

    async fn copy(&self, world: &World, ids: &[&str]) {
        let ids: Vec<DeploymentId> = ids.iter().map(|text| id(text)).collect();
        self.snapshot.copy(&world.store, &ids, None).await.expect("copied");
    }

    /// For the next process.
    async fn reopen(&self) -> Replica {
        self.snapshot.close().await;
        let snapshot = Replica::at(self.folder.path(), &master_key());
        assert!(snapshot.open().await.expect("it opens"));
        snapshot
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("snapshot.db")
    }
}

async fn key(from: &Reader, id: &DeploymentId, version: Generation) -> Option<Vec<u8>> {
    let key = from.private_key(id, version.into()).await.expect("read");
    key.map(|key| key.expose_pkcs8_der().to_vec())
}

async fn version_in(from: &Reader, id: &DeploymentId, version: Generation) -> Option<Version> {
    from.version(id, version.into()).await.expect("read")
}

async fn in_snapshot(snapshot: &Replica, id: &DeploymentId) -> Option<Deployment> {
    snapshot.read().deployment(id).await.expect("read")
}

/// Not confirmed by its nodes.
async fn delete(world: &World, id: &DeploymentId) {
    let mut tx = world.begin().await;
    let generation = tx.draw_generation(id).await.expect("a generation");
    tx.erase_keys(id).await.expect("erased");
    tx.set_tls(id, generation, &TlsState::Terminated).await.expect("written");
    tx.commit().await.expect("committed");
}

async fn remove(world: &World, id: &DeploymentId) {
    let mut tx = world.begin().await;
    tx.draw_generation(id).await.expect("a generation");
    tx.remove_deployment(id).await.expect("removed");
    tx.commit().await.expect("committed");
}

async fn set_hosts(world: &World, id: &DeploymentId, hosts: &[&str]) {
    let mut tx = world.begin().await;
    let mut deployment = tx.deployment(id).await.expect("read").expect("there");
    deployment.spec.hosts = hosts.iter().map(|name| host(name)).collect();
    deployment.generation = tx.draw_generation(id).await.expect("a generation");
    tx.update_deployment(&deployment).await.expect("written").expect("free");
    tx.commit().await.expect("committed");
}

async fn a_copy_reads_as_the_store_does_and_its_keys_open(world: World) {
    let made = world.deployment("a").await;
    set_hosts(&world, &made.id, &["b.example.com", "*.a.example.com"]).await;
    let uploaded = world.upload(&made.id, b"the key").await;
    let copying = Copying::of(&world).await;
    let copied =
        copying.snapshot.copy(&world.store, &[made.id.clone(), id("none")], None).await.expect("copied");
    assert_eq!((copied[&made.id], copied[&id("none")]), (Some(uploaded), None));
    let stored = world.store.read().deployment(&made.id).await.expect("read");
    assert_eq!(in_snapshot(&copying.snapshot, &made.id).await, stored);
    assert_eq!(
        version_in(&copying.snapshot.read(), &made.id, uploaded).await,
        version_in(&world.store.read(), &made.id, uploaded).await
    );
    assert_eq!(
        key(&copying.snapshot.read(), &made.id, uploaded).await.as_deref(),
        Some(b"the key".as_slice())
    );
    let hosts = copying.snapshot.read().hosts_after(None, 10).await.expect("read");
    let stored = stored.expect("there");
    assert_eq!(hosts.len(), 1);
    assert_eq!((&hosts[0].id, &hosts[0].hosts), (&made.id, &stored.spec.hosts));
    assert_eq!((hosts[0].generation, hosts[0].proof), (stored.generation, ProofState::Unsettled));
    for file in ["snapshot.db", "snapshot.db-wal"] {
        let bytes = fs::read(copying.folder.path().join(file)).expect("read");
        assert!(!bytes.windows(7).any(|piece| piece == b"the key"), "{file}");
        let mode = fs::metadata(copying.folder.path().join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

async fn only_what_is_served_and_what_could_be_fallen_back_to_is_copied(world: World) {
    let made = world.deployment("a").await;
    let mut versions = Vec::new();
    for _ in 0..4 {
        versions.push(world.upload(&made.id, b"key").await);
    }
    let mut tx = world.begin().await;
    tx.mark_proven(&made.id, versions[0].into()).await.expect("marked");
    tx.mark_proven(&made.id, versions[1].into()).await.expect("marked");
    tx.commit().await.expect("committed");
    let copying = Copying::of(&world).await;
    copying.copy(&world, &["a"]).await;
    let mut there = Vec::new();
    for version in &versions {
        there.push(key(&copying.snapshot.read(), &made.id, *version).await.is_some());
    }
    assert_eq!(there, [false, true, false, true]);
    let fallback =
        copying.snapshot.read().last_proven_version(&made.id, versions[3].into()).await.expect("read");
    assert_eq!(fallback.map(|fallback| fallback.version), Some(versions[1].into()));
}

async fn a_deletion_erases_the_keys_and_a_removal_everything(world: World) {
    let made = world.deployment("a").await;
    let uploaded = world.upload(&made.id, b"key").await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &["a"]).await;
    let sealed = sealed_key(&copying.file(), uploaded).await;
    assert!(is_in_files(copying.folder.path(), &sealed), "it is looked for in the right place");
    delete(&world, &made.id).await;
    copying.copy(&world, &["a"]).await;
    assert_eq!(in_snapshot(&copying.snapshot, &made.id).await.expect("there").tls, TlsState::Terminated);
    assert_eq!(key(&copying.snapshot.read(), &made.id, uploaded).await, None);
    assert!(!is_in_files(copying.folder.path(), &sealed), "also the sealed bytes are overwritten");
    remove(&world, &made.id).await;
    copying.copy(&world, &["a"]).await;
    assert_eq!(in_snapshot(&copying.snapshot, &made.id).await, None);
    assert_eq!(copying.snapshot.read().hosts_after(None, 10).await.expect("read"), []);
}

async fn one_erased_key_is_overwritten_and_the_others_stay(world: World) {
    let made = world.deployment("a").await;
    // The last one replaces the newest, and the fallback is erased before the replica hears of it.
    for replaced_meanwhile in [false, true] {
        let fallback = world.upload(&made.id, b"leaked").await;
        let mut newest = world.upload(&made.id, b"served").await;
        let mut tx = world.begin().await;
        tx.mark_proven(&made.id, fallback.into()).await.expect("marked");
        tx.commit().await.expect("committed");
        let copying = Copying::of(&world).await;
        copying.copy(&world, &["a"]).await;
        let sealed = sealed_key(&copying.file(), fallback).await;
        assert!(is_in_files(copying.folder.path(), &sealed), "it is looked for in the right place");
        if replaced_meanwhile {
            newest = world.upload(&made.id, b"served").await;
        }
        let mut tx = world.begin().await;
        tx.erase_key(&made.id, fallback.into()).await.expect("erased");
        let generation = tx.draw_generation(&made.id).await.expect("a generation");
        tx.set_tls(&made.id, generation, &TlsState::Running { version: newest.into() })
            .await
            .expect("written");
        tx.commit().await.expect("committed");
        copying.copy(&world, &["a"]).await;
        assert_eq!(key(&copying.snapshot.read(), &made.id, fallback).await, None);
        assert_eq!(key(&copying.snapshot.read(), &made.id, newest).await.as_deref(), Some(&b"served"[..]));
        assert!(!is_in_files(copying.folder.path(), &sealed), "in the log of the replica, too");
    }
}

async fn sealed_key(file: &Path, version: Generation) -> Vec<u8> {
    let mut conn =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("opened");
    let row = sqlx::query("SELECT sealed_key FROM version WHERE version = $1")
        .bind(version.0)
        .fetch_one(&mut conn)
        .await
        .expect("a key");
    conn.close().await.expect("closed");
    row.get(0)
}

fn is_in_files(folder: &Path, bytes: &[u8]) -> bool {
    let files =
        fs::read_dir(folder).expect("read").map(|entry| fs::read(entry.expect("read").path()).expect("read"));
    // Its last part is unique; the whole may be spread over pages.
    files.into_iter().any(|file| file.windows(24).any(|piece| piece == &bytes[bytes.len() - 24..]))
}

async fn what_was_read_earlier_undoes_nothing_where_there_is_a_mark(world: World) {
    let made = world.deployment("a").await;
    world.upload(&made.id, b"key").await;
    let read = world.store.read_as_member().newest_position().await.expect("read");
    let copying = Copying::of(&world).await;
    let generation = async |copying: &Copying| {
        in_snapshot(&copying.snapshot, &made.id).await.map(|deployment| deployment.generation)
    };
    let copy = async |mark| {
        let ids = [made.id.clone()];
        copying.snapshot.copy(&world.store, &ids, mark).await.expect("copied");
    };
    // Another process has copied later state.
    let later = Generation(read.generation.0 + 5);
    let set = format!(
        "UPDATE deployment SET generation = {later}; UPDATE counter SET value = {later} WHERE name = 'copied'"
    );
    copy(Some(read)).await;
    let mut conn = sqlx::SqliteConnection::connect(&format!("sqlite://{}", copying.file().display()))
        .await
        .expect("opened");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut conn).await.expect("written");
    conn.close().await.expect("closed");
    copy(Some(read)).await;
    assert_eq!(copying.snapshot.mark().await.expect("read"), Some(later));
    assert_eq!(generation(&copying).await, Some(later));
    remove(&world, &made.id).await;
    copy(Some(read)).await;
    assert_eq!(generation(&copying).await, Some(later), "it may have been made again since");
    copying.snapshot.forget_mark().await.expect("forgotten");
    copy(None).await;
    assert_eq!(generation(&copying).await, None);
}

async fn pages_copy_what_differs_and_remove_what_is_gone(world: World) {
    let names: Vec<String> = (10..60).map(|number| format!("d{number}")).collect();
    for name in &names {
        world.deployment(name).await;
    }
    let copying = Copying::of(&world).await;
    let sweep = async || {
        let (mut after, mut pages) = (None, 0);
        loop {
            pages += 1;
            after = copying.snapshot.copy_page(&world.store, after.as_ref(), 30).await.expect("copied");
            if after.is_none() {
                return pages;
            }
        }
    };
    let alike = async || {
        let mut there = world.store.read().deployments_after(None, u32::MAX).await.expect("read");
        for deployment in &mut there {
            assert_eq!(in_snapshot(&copying.snapshot, &deployment.id).await.as_ref(), Some(&*deployment));
        }
        let here = copying.snapshot.generations(None, None).await.expect("read");
        assert_eq!(here.len(), there.len());
    };
    assert_eq!(sweep().await, 2);
    alike().await;
    let written = modified(&copying).await;
    sweep().await;
    assert_eq!(modified(&copying).await, written, "without a difference nothing is written");
    for gone in ["d10", "d30", "d59"] {
        remove(&world, &id(gone)).await;
    }
    world.deployment("a-new-one").await;
    set_hosts(&world, &id("d20"), &["new.example.com"]).await;
    world.upload(&id("d58"), b"key").await;
    sweep().await;
    alike().await;
}

async fn modified(copying: &Copying) -> i64 {
    let url = format!("sqlite://{}", copying.file().display());
    let mut conn = sqlx::SqliteConnection::connect(&url).await.expect("opened");
    let row = sqlx::query("SELECT max(rowid) FROM deployment").fetch_one(&mut conn).await.expect("read");
    conn.close().await.expect("closed");
    row.get(0)
}

async fn a_host_that_moved_is_its_new_deployments_whichever_is_copied_first(world: World) {
    for order in [["a", "b"], ["b", "a"]] {
        for name in ["a", "b"] {
            if world.store.read().deployment(&id(name)).await.expect("read").is_none() {
                world.deployment(name).await;
            }
            set_hosts(&world, &id(name), &[]).await;
        }
        set_hosts(&world, &id("a"), &["x.example.com"]).await;
        let copying = Copying::of(&world).await;
        copying.copy(&world, &["a", "b"]).await;
        set_hosts(&world, &id("a"), &[]).await;
        set_hosts(&world, &id("b"), &["x.example.com"]).await;
        for name in order {
            copying.copy(&world, &[name]).await;
        }
        let hosts = copying.snapshot.read().hosts_after(None, 10).await.expect("read");
        let hosts: Vec<_> = hosts.into_iter().map(|listed| (listed.id, listed.hosts)).collect();
        assert_eq!(hosts, [(id("a"), vec![]), (id("b"), vec![host("x.example.com")])], "{order:?}");
    }
}

async fn a_deployment_that_cannot_be_read_is_refused_alone_and_keeps_its_names(world: World) {
    for name in ["a", "b"] {
        world.deployment(name).await;
        set_hosts(&world, &id(name), &[&format!("{name}.example.com")]).await;
    }
    let uploaded = world.upload(&id("a"), b"key").await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &["a", "b"]).await;
    world.tamper("UPDATE deployment SET upstream = 'nonsense' WHERE id = 'a'").await;
    copying.copy(&world, &["a", "b"]).await;
    // Not the earlier version.
    assert_eq!(version_in(&copying.snapshot.read(), &id("a"), uploaded).await, None);
    let hosts = copying.snapshot.read().hosts_after(None, 10).await.expect("read");
    let hosts: Vec<_> = hosts.into_iter().map(|listed| (listed.id, listed.hosts)).collect();
    assert_eq!(hosts, [(id("a"), vec![host("a.example.com")]), (id("b"), vec![host("b.example.com")])]);
    assert!(in_snapshot(&copying.snapshot, &id("b")).await.is_some());
}

async fn a_replica_outlives_the_process_with_its_mark(world: World) {
    let made = world.deployment("a").await;
    let uploaded = world.upload(&made.id, b"key").await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &["a"]).await;
    assert_eq!(copying.snapshot.mark().await.expect("read"), None, "it was never complete");
    let row = world.store.read_as_member().newest_position().await.expect("read");
    copying.snapshot.copy(&world.store, &[], Some(row)).await.expect("copied");
    let snapshot = copying.reopen().await;
    assert_eq!(snapshot.mark().await.expect("read"), Some(uploaded));
    assert_eq!(snapshot.mark_position().await.expect("read"), Some(row));
    assert_eq!(key(&snapshot.read(), &made.id, uploaded).await.as_deref(), Some(b"key".as_slice()));
    snapshot.discard().await.expect("removed");
    assert!(!snapshot.is_open());
    assert_eq!(fs::read_dir(copying.folder.path()).expect("read").count(), 0);
    assert!(matches!(snapshot.read().deployment(&made.id).await, Err(StoreError::Unavailable(_))));
}

async fn a_replica_of_another_store_or_history_is_recognised(world: World) {
    let made = world.deployment("a").await;
    let uploaded = world.upload(&made.id, b"key").await;
    let copying = Copying::of(&world).await;
    let row = world.store.read_as_member().newest_position().await.expect("read");
    let other = FeedPosition { nonce: row.nonce ^ 1, ..row };
    let copy =
        async |mark| copying.snapshot.copy(&world.store, std::slice::from_ref(&made.id), Some(mark)).await;
    let error = copy(other).await.expect_err("the feed was read from another history");
    assert!(matches!(error, CopyError::Store(StoreError::Unavailable(_))), "{error}");
    assert!(in_snapshot(&copying.snapshot, &made.id).await.is_none());
    copy(row).await.expect("copied");
    assert!(copying.snapshot.is_of(&world.store).await.expect("answered"));
    world.upload(&made.id, b"key").await;
    assert!(copying.snapshot.is_of(&world.store).await.expect("answered"), "it is only behind");

    let another = World::sqlite().await;
    for _ in 0..9 {
        another
            .deployment(&format!("d{}", another.store.read().newest_generation().await.expect("read")))
            .await;
    }
    assert!(!copying.snapshot.is_of(&another.store).await.expect("answered"));

    // Another change has the mark's generation, after a restore.
    world.tamper(&format!("UPDATE feed SET at = at + 1 WHERE generation = {uploaded}")).await;
    assert!(!copying.snapshot.is_of(&world.store).await.expect("answered"));
    world.tamper(&format!("DELETE FROM feed WHERE generation = {uploaded}")).await;
    world.tamper(&format!("UPDATE counter SET value = {uploaded} WHERE name = 'feed_pruned'")).await;
    assert!(copying.snapshot.is_of(&world.store).await.expect("answered"), "too long ago to be told");
    world.tamper("UPDATE counter SET value = 1 WHERE name = 'generation'").await;
    assert!(!copying.snapshot.is_of(&world.store).await.expect("answered"), "an older store");
}

async fn what_is_no_snapshot_is_not_opened(world: World) {
    world.deployment("a").await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &["a"]).await;
    copying.snapshot.close().await;
    let (file, folder) = (copying.file(), copying.folder.path());
    let error = Replica::at(folder, &MasterKey::generate()).open().await.expect_err("another key");
    assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
    for mode in [0o640, 0o606, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        let error = Replica::at(folder, &master_key()).open().await.expect_err("open to others");
        assert!(matches!(error, StoreError::Corrupt(_)), "{mode:o}: {error}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    let whole = fs::read(&file).expect("read");
    sql(&file, "UPDATE schema_version SET version = 1000, compatible = 1000 WHERE part = 'store'").await;
    let error = Replica::at(folder, &master_key()).open().await.expect_err("of a newer release");
    assert!(matches!(error, StoreError::TooNew(1000)), "{error}");
    for garbage in
        [whole[..whole.len() / 2].to_vec(), vec![7; 20_000], b"SQLite format 3\0 and no more".to_vec()]
    {
        fs::write(&file, &garbage).expect("written");
        let snapshot = Replica::at(folder, &master_key());
        // Half a file may open.
        let found = match snapshot.open().await {
            Err(error) => error,
            Ok(_) => snapshot.read().hosts_after(None, 10).await.expect_err("damaged"),
        };
        assert!(matches!(found, StoreError::Corrupt(_)), "{found}");
        snapshot.make(&world.store).await.expect("made anew");
        assert!(snapshot.is_open());
        snapshot.close().await;
    }
}

async fn sql(file: &Path, statement: &'static str) {
    let mut conn =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("opened");
    sqlx::query(statement).execute(&mut conn).await.expect("done");
    conn.close().await.expect("closed");
}

async fn a_half_made_replica_counts_as_none(world: World) {
    let copying = Copying::of(&world).await;
    copying.snapshot.close().await;
    fs::write(copying.file(), b"").expect("written");
    let snapshot = Replica::at(copying.folder.path(), &master_key());
    assert!(!snapshot.open().await.expect("nothing there"));
    snapshot.make(&world.store).await.expect("made");
}

async fn session_ticket_keys_are_copied_sealed_and_removed(world: World) {
    for name in ["tickets.1", "tickets.2", "other"] {
        world.store.secret_or_insert(name, name.as_bytes().to_vec().into()).await.expect("kept");
    }
    let copying = Copying::of(&world).await;
    let copy =
        async || copying.snapshot.copy_secrets(&world.store, "tickets.", "tickets/").await.expect("copied");
    assert!(copy().await);
    assert!(!copy().await, "nothing has changed");
    let read =
        async |name| copying.snapshot.read().secret(name).await.expect("read").map(|secret| secret.to_vec());
    assert_eq!(read("tickets.1").await.as_deref(), Some(b"tickets.1".as_slice()));
    assert_eq!(read("other").await, None);
    world.store.remove_secrets("tickets.", "tickets.2").await.expect("removed");
    assert!(copy().await);
    assert_eq!(read("tickets.1").await, None);
    assert_eq!(copying.snapshot.remove_secrets("tickets.", "tickets/").await.expect("removed"), 1);
    assert_eq!(read("tickets.2").await, None);
    // The check value is not removable.
    copying.snapshot.remove_secrets("", "\u{7f}").await.expect("removed");
    copying.reopen().await;
}

async fn a_lost_store_and_a_lost_disk_are_told_apart(world: World) {
    world.deployment("a").await;
    let copying = Copying::of(&world).await;
    let file = copying.file();
    let url = format!("sqlite://{}", file.display());
    let mut lock = sqlx::SqliteConnection::connect(&url).await.expect("opened");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.expect("locked");
    let error = copying.snapshot.copy(&world.store, &[id("a")], None).await.expect_err("locked");
    assert!(matches!(error, CopyError::Replica(StoreError::Unavailable(_))), "{error}");
    lock.close().await.expect("closed");
    copying.copy(&world, &["a"]).await;
    world.store.close().await;
    let error = copying.snapshot.copy(&world.store, &[id("a")], None).await.expect_err("closed");
    assert!(matches!(error, CopyError::Store(StoreError::Unavailable(_))), "{error}");
    assert!(in_snapshot(&copying.snapshot, &id("a")).await.is_some());
}

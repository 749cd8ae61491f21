//! The change of the master key.

use std::{
    fs,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use certward_store::{
    AlertChannel, AlertReceiver, BackupError, ChannelId, Generation, KeyHolder, MasterKey, MasterKeyId,
    MasterKeyRing, NodeProcess, Rekey, RekeyError, RekeyNodes, Replica, Role, Servers, Store, StoreError,
    Timestamp, TransferError, WebhookSecret, WebhookUrl, back_up, transfer,
};
use certward_test_support::PostgresServer;
use sqlx::Row;

use crate::{
    block_on, on_both_engines,
    world::{World, id, master_key, node},
};

on_both_engines! {
    during_a_rekey_all_is_read_and_written_and_in_the_end_the_old_key_opens_nothing,
    a_rekey_that_is_aborted_anywhere_is_completed_by_the_next,
    a_key_that_a_listed_node_lacks_is_not_switched_to,
    a_key_of_before_and_a_second_rekey_are_refused,
    while_records_of_the_old_key_are_left_a_store_opens_with_both_keys_only,
    a_change_that_has_begun_is_waited_for_and_resealed,
    a_damaged_record_is_named_and_left_as_it_is,
    a_rekey_is_not_finished_while_a_replica_needs_the_old_key,
    a_replica_is_sealed_again_and_stays_that_of_its_store,
    a_replica_made_while_records_of_both_keys_are_left_is_sealed_again,
    a_reseal_of_a_replica_that_is_aborted_anywhere_is_completed_by_the_next,
    a_node_keeps_the_old_key_for_as_long_as_it_is_needed,
}

const NO_NODES: RekeyNodes<'static> = RekeyNodes::None;
const ALL_NODES: RekeyNodes<'static> = RekeyNodes::AllBut(&[]);

fn new_key() -> MasterKey {
    MasterKey::parse(&"a5".repeat(32)).expect("64 digits")
}

fn new_id() -> MasterKeyId {
    MasterKeyId::of(&new_key())
}

fn both() -> MasterKeyRing {
    MasterKeyRing::new(&master_key(), Some(&new_key()))
}

async fn open(world: &World, keys: impl Into<MasterKeyRing>) -> Result<Store, StoreError> {
    Store::open(&world.address, keys, world.clock.clone()).await
}

/// The world's store, opened again with both keys.
async fn with_both_keys(world: &mut World) {
    world.store.close().await;
    world.store = open(world, both()).await.expect("it opens with both keys");
}

async fn switch(world: &World) -> Rekey {
    world.store.switch_master_key(&master_key(), new_id(), NO_NODES).await.expect("switched")
}

/// A record in each sealed column.
async fn fill(world: &World, name: &str) -> Generation {
    let made = world.deployment(name).await;
    let generation = world.upload(&made.id, name.as_bytes()).await;
    world.store.secret_or_insert(name, name.as_bytes().to_vec().into()).await.expect("made");
    let mut tx = world.begin().await;
    let url = WebhookUrl::parse(&format!("https://example.com/{name}")).expect("a URL");
    let channel = AlertChannel {
        id: ChannelId::parse(name).expect("an id"),
        project: None,
        name: name.into(),
        receiver: AlertReceiver::Webhook { url, secret: WebhookSecret::generate(&[7; 32].into()) },
        created_at: Timestamp(0),
    };
    tx.insert_alert_channel(&channel).await.expect("written");
    tx.commit().await.expect("committed");
    generation
}

async fn assert_readable(store: &Store, name: &str, generation: Generation) {
    let read = store.read();
    let key = read.private_key(&id(name), generation.into()).await.expect("it opens").expect("there");
    assert_eq!(key.expose_pkcs8_der(), name.as_bytes());
    let secret = read.secret(name).await.expect("it opens").expect("there");
    assert_eq!(secret.as_slice(), name.as_bytes());
    let channel = ChannelId::parse(name).expect("an id");
    assert!(read.alert_channel(&channel).await.expect("it opens").is_some());
}

/// The ids of the master keys of all records.
async fn keys_in_use(world: &World) -> Vec<String> {
    let (substr, hex) = match world.is_postgres() {
        true => ("substring(sealed from 2 for 8)", "encode(id, 'hex')"),
        false => ("substr(sealed, 2, 8)", "lower(hex(id))"),
    };
    let sql = format!(
        "SELECT DISTINCT {hex} AS id FROM (SELECT {substr} AS id FROM
            (SELECT sealed FROM secret UNION ALL SELECT sealed FROM alert_channel
             UNION ALL SELECT sealed_key FROM version WHERE sealed_key IS NOT NULL) records) ids ORDER BY 1"
    );
    let mut conn = world.connect().await;
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut conn).await.expect("answered");
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

/// Dropped after this many polls, as a kill drops it.
async fn abort_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

async fn during_a_rekey_all_is_read_and_written_and_in_the_end_the_old_key_opens_nothing(mut world: World) {
    let old = MasterKeyId::of(&master_key()).to_string();
    let before = fill(&world, "before").await;
    with_both_keys(&mut world).await;
    let offered = fill(&world, "offered").await;
    assert_eq!(keys_in_use(&world).await, [old.as_str()], "the store's own key seals");

    let rekey = switch(&world).await;
    assert_eq!(switch(&world).await, rekey, "a second one changes nothing");
    let switched = fill(&world, "switched").await;
    let mut in_use = [old.clone(), new_id().to_string()];
    in_use.sort();
    assert_eq!(keys_in_use(&world).await, in_use);
    // before and offered: a key, a secret and a channel each; the API secrets' key.
    assert_eq!(world.store.count_unsealed().await.expect("counted"), 7);
    let all = [("before", before), ("offered", offered), ("switched", switched)];
    for (name, generation) in all {
        assert_readable(&world.store, name, generation).await;
    }

    let mut told = Vec::new();
    let resealed = world.store.reseal(|records| told.push(records)).await.expect("resealed");
    assert_eq!((resealed.records, resealed.damaged), (7, Vec::new()));
    assert_eq!(told.last(), Some(&7));
    assert_eq!(world.store.count_unsealed().await.expect("counted"), 0);
    world.store.finish_rekey(&rekey, NO_NODES).await.expect("finished");
    assert_eq!(keys_in_use(&world).await, [new_id().to_string()]);
    assert_eq!(world.store.rekey_state().await.expect("read").under_way(), None);
    let audited = world.asked("SELECT count(*) || '' FROM audit WHERE action LIKE 'rekey.%'").await;
    assert_eq!(audited, "2");
    let former = format!("audit.{old}");
    let kept = world.asked("SELECT max(name) FROM secret WHERE name LIKE 'audit.%'").await;
    assert_eq!(kept, former, "the audit of before stays verifiable");

    world.store.close().await;
    if !world.is_postgres() {
        let id = u64::from_str_radix(&old, 16).expect("an id").to_be_bytes();
        for file in fs::read_dir(world.data()).expect("a folder").flatten() {
            let bytes = fs::read(file.path()).expect("read");
            assert!(!bytes.windows(8).any(|window| window == id), "{:?} has the old key's id", file.path());
        }
    }
    let error = open(&world, &master_key()).await.expect_err("refused");
    assert!(matches!(error, StoreError::MasterKeyReplaced { wanted, .. } if wanted == new_id()), "{error}");
    let store = open(&world, &new_key()).await.expect("it opens");
    for (name, generation) in all {
        assert_readable(&store, name, generation).await;
    }
    store.close().await;
}

async fn a_rekey_that_is_aborted_anywhere_is_completed_by_the_next(mut world: World) {
    let before = fill(&world, "before").await;
    with_both_keys(&mut world).await;
    let rekey = async |store: &Store| {
        let rekey = store.switch_master_key(&master_key(), new_id(), NO_NODES).await?;
        store.reseal(|_| {}).await?;
        store.finish_rekey(&rekey, NO_NODES).await
    };
    let (mut polls, mut aborted) = (1, 0);
    // Aborted later each time.
    while abort_after(polls, rekey(&world.store)).await.is_none() {
        assert_readable(&world.store, "before", before).await;
        aborted += 1;
        polls += 1 + polls / 16;
    }
    assert!(aborted > 10, "{aborted}");
    assert_eq!(keys_in_use(&world).await, [new_id().to_string()]);
    assert_eq!(world.asked("SELECT count(*) || '' FROM rekey WHERE finished_at IS NOT NULL").await, "1");
    let audited = world.asked("SELECT count(*) || '' FROM audit WHERE action LIKE 'rekey.%'").await;
    assert_eq!(audited, "2", "each once");
    world.store.close().await;
    assert_readable(&open(&world, &new_key()).await.expect("it opens"), "before", before).await;
}

async fn report(store: &Store, name: &str) {
    let process = NodeProcess { role: Role::All, version: "1" };
    store.record_process(&node(name), process, None).await.expect("recorded");
}

fn names(holders: &[KeyHolder]) -> Vec<String> {
    holders.iter().map(|holder| holder.node.to_string()).collect()
}

async fn a_key_that_a_listed_node_lacks_is_not_switched_to(mut world: World) {
    report(&world.store, "lacks").await;
    report(&world.store, "older").await;
    with_both_keys(&mut world).await;
    report(&world.store, "holds").await;
    // A node of the release before hears from itself, and leaves what it does not know.
    world.tamper("UPDATE node_process SET heard_at = heard_at + 1, master_keys = (SELECT master_keys FROM node_process WHERE node = 'holds') WHERE node = 'older'").await;
    let refused = async |nodes: RekeyNodes<'_>| {
        let refused = world.store.switch_master_key(&master_key(), new_id(), nodes).await;
        let Err(RekeyError::NotHeld(missing)) = refused else { panic!("{refused:?}") };
        names(&missing)
    };
    assert_eq!(refused(ALL_NODES).await, ["lacks", "older"]);
    assert_eq!(refused(RekeyNodes::AllBut(&[node("lacks")])).await, ["older"]);
    assert_eq!(keys_in_use(&world).await, [MasterKeyId::of(&master_key()).to_string()]);
    let lost = [node("lacks"), node("older")];
    let nodes = RekeyNodes::AllBut(&lost);
    world.store.switch_master_key(&master_key(), new_id(), nodes).await.expect("switched");
}

async fn a_key_of_before_and_a_second_rekey_are_refused(mut world: World) {
    with_both_keys(&mut world).await;
    let rekey = switch(&world).await;
    let third = MasterKey::generate();
    let keys = MasterKeyRing::new(&new_key(), Some(&third));
    let refused = world.store.hold_master_keys(&keys).await.expect("held");
    assert!(refused, "the third is new");
    let switch_to = async |key: &MasterKey| {
        world.store.switch_master_key(&new_key(), MasterKeyId::of(key), NO_NODES).await
    };
    let refused = switch_to(&third).await;
    assert!(matches!(refused, Err(RekeyError::UnderWay(to)) if to == new_id()), "{refused:?}");
    world.store.reseal(|_| {}).await.expect("resealed");
    world.store.finish_rekey(&rekey, NO_NODES).await.expect("finished");
    world.store.hold_master_keys(&MasterKeyRing::new(&new_key(), Some(&master_key()))).await.expect("held");
    let refused = switch_to(&master_key()).await;
    assert!(matches!(refused, Err(RekeyError::UsedBefore(_))), "{refused:?}");
    world.store.hold_master_keys(&keys).await.expect("held");
    switch_to(&third).await.expect("another key is fine");
}

async fn while_records_of_the_old_key_are_left_a_store_opens_with_both_keys_only(mut world: World) {
    with_both_keys(&mut world).await;
    let rekey = switch(&world).await;
    world.store.close().await;
    let error = open(&world, &new_key()).await.expect_err("the old key is needed");
    assert!(matches!(error, StoreError::RekeyNeedsKey(old) if old == rekey.from), "{error}");
    let error = open(&world, &master_key()).await.expect_err("the new key is needed");
    assert!(matches!(error, StoreError::MasterKeyReplaced { .. }), "{error}");
    let reversed = MasterKeyRing::new(&new_key(), Some(&master_key()));
    world.store = open(&world, &reversed).await.expect("it opens");
    world.store.reseal(|_| {}).await.expect("resealed");
    world.store.close().await;
    open(&world, &new_key()).await.expect("it opens").close().await;
}

async fn a_change_that_has_begun_is_waited_for_and_resealed(mut world: World) {
    with_both_keys(&mut world).await;
    let made = world.deployment("a").await;
    let mut tx = world.begin().await;
    let generation = tx.draw_generation(&made.id).await.expect("a generation");
    let version = crate::world::version(&made.id, generation);
    tx.insert_version(&version, &crate::world::private_key(b"begun")).await.expect("written");
    let switching = {
        let store = world.store.clone();
        tokio::spawn(async move { store.switch_master_key(&master_key(), new_id(), NO_NODES).await })
    };
    world.until_one_waits().await;
    tx.commit().await.expect("committed");
    switching.await.expect("no panic").expect("switched");
    world.store.reseal(|_| {}).await.expect("resealed");
    assert_eq!(keys_in_use(&world).await, [new_id().to_string()]);
    let key = world.store.read().private_key(&made.id, generation.into()).await.expect("opens");
    assert_eq!(key.expect("there").expose_pkcs8_der(), b"begun");
}

async fn a_damaged_record_is_named_and_left_as_it_is(mut world: World) {
    let (good, bad) = (fill(&world, "good").await, fill(&world, "bad").await);
    world.tamper("UPDATE version SET sealed_key = (SELECT sealed_key FROM version WHERE deployment = 'good') WHERE deployment = 'bad'").await;
    with_both_keys(&mut world).await;
    switch(&world).await;
    for _ in 0..2 {
        let resealed = world.store.reseal(|_| {}).await.expect("resealed");
        assert_eq!(resealed.damaged, [format!("version bad {}", bad.0)]);
    }
    assert_readable(&world.store, "good", good).await;
    assert_eq!(world.store.count_unsealed().await.expect("counted"), 1);
    assert!(world.store.rekey_state().await.expect("read").newest.expect("there").resealed_at.is_some());
}

async fn a_rekey_is_not_finished_while_a_replica_needs_the_old_key(mut world: World) {
    let folder = tempfile::tempdir().expect("a folder");
    with_both_keys(&mut world).await;
    let replica = Replica::at(folder.path(), world.store.master_keys());
    replica.make(&world.store).await.expect("made");
    report(&world.store, "n").await;
    let rekey = world.store.switch_master_key(&master_key(), new_id(), ALL_NODES).await.expect("switched");
    world.store.reseal(|_| {}).await.expect("resealed");
    let refused = world.store.finish_rekey(&rekey, ALL_NODES).await;
    assert!(matches!(&refused, Err(RekeyError::NotHeld(behind)) if names(behind) == ["n"]), "{refused:?}");
    assert!(!replica.is_outdated(), "it has not heard yet");
    world.store.hold_master_keys(&both()).await.expect("held");
    replica.outdated().await;
    replica.reseal(&world.store).await.expect("resealed");
    assert!(!replica.is_outdated());
    report(&world.store, "n").await;
    world.store.finish_rekey(&rekey, ALL_NODES).await.expect("finished");
    replica.close().await;
}

async fn copy_of(world: &World, folder: &std::path::Path) -> Replica {
    let replica = Replica::at(folder, world.store.master_keys());
    replica.make(&world.store).await.expect("made");
    replica.copy(&world.store, &[id("a")], None).await.expect("copied");
    let ids = ("", "~");
    world.store.secret_or_insert("tickets", b"tickets".to_vec().into()).await.expect("made");
    replica.copy_secrets(&world.store, ids.0, ids.1).await.expect("copied");
    replica
}

async fn assert_copied(replica: &Replica, generation: Generation) {
    let key = replica.read().private_key(&id("a"), generation.into()).await.expect("it opens");
    assert_eq!(key.expect("there").expose_pkcs8_der(), b"key");
    assert_eq!(replica.read().secret("tickets").await.expect("opens").expect("there").as_slice(), b"tickets");
}

async fn a_replica_is_sealed_again_and_stays_that_of_its_store(mut world: World) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = world.deployment("a").await;
    let generation = world.upload(&made.id, b"key").await;
    with_both_keys(&mut world).await;
    let replica = copy_of(&world, folder.path()).await;
    switch(&world).await;
    assert!(replica.is_of(&world.store).await.expect("compared"), "the key has changed, not the store");
    // In between, rows of both keys are copied.
    assert_copied(&replica, generation).await;
    world.store.reseal(|_| {}).await.expect("resealed");
    replica.reseal(&world.store).await.expect("resealed");
    assert!(replica.is_of(&world.store).await.expect("compared"));
    replica.close().await;
    let old = u64::from_str_radix(&MasterKeyId::of(&master_key()).to_string(), 16).expect("an id");
    for file in fs::read_dir(folder.path()).expect("a folder").flatten() {
        let bytes = fs::read(file.path()).expect("read");
        assert!(!bytes.windows(8).any(|window| window == old.to_be_bytes()), "{:?}", file.path());
    }
    let error = Replica::at(folder.path(), &master_key()).open().await.expect_err("another key");
    assert!(matches!(error, StoreError::MasterKeyReplaced { .. }), "{error}");
    let reopened = Replica::at(folder.path(), &new_key());
    assert!(reopened.open().await.expect("it opens"));
    assert_copied(&reopened, generation).await;
    reopened.close().await;
}

async fn a_replica_made_while_records_of_both_keys_are_left_is_sealed_again(mut world: World) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = world.deployment("a").await;
    let generation = world.upload(&made.id, b"key").await;
    with_both_keys(&mut world).await;
    let rekey = switch(&world).await;
    copy_of(&world, folder.path()).await.close().await;
    world.store.reseal(|_| {}).await.expect("resealed");
    let error = Replica::at(folder.path(), &new_key()).open().await.expect_err("it has the old key's, too");
    assert!(matches!(error, StoreError::RekeyNeedsKey(old) if old == rekey.from), "{error}");
    let replica = Replica::at(folder.path(), world.store.master_keys());
    assert!(replica.open().await.expect("it opens"));
    assert_eq!(world.store.master_keys().replica_key(), Some(rekey.from));
    world.store.hold_master_keys(&both()).await.expect("held");
    assert!(replica.is_outdated());
    replica.reseal(&world.store).await.expect("resealed");
    assert_eq!(world.store.master_keys().replica_key(), Some(new_id()));
    replica.close().await;
    let reopened = Replica::at(folder.path(), &new_key());
    assert!(reopened.open().await.expect("it opens"));
    assert_copied(&reopened, generation).await;
    reopened.close().await;
}

async fn a_reseal_of_a_replica_that_is_aborted_anywhere_is_completed_by_the_next(mut world: World) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = world.deployment("a").await;
    let generation = world.upload(&made.id, b"key").await;
    with_both_keys(&mut world).await;
    let mut replica = copy_of(&world, folder.path()).await;
    switch(&world).await;
    world.store.reseal(|_| {}).await.expect("resealed");
    let (mut polls, mut aborted) = (1, 0);
    while abort_after(polls, replica.reseal(&world.store)).await.is_none() {
        aborted += 1;
        polls += 1 + polls / 16;
        // As the next process finds it.
        replica.close().await;
        replica = Replica::at(folder.path(), both());
        assert!(replica.open().await.expect("it opens"));
        assert_copied(&replica, generation).await;
    }
    assert!(aborted > 5, "{aborted}");
    replica.close().await;
    replica = Replica::at(folder.path(), &new_key());
    assert!(replica.open().await.expect("it opens"));
    assert_copied(&replica, generation).await;
    replica.close().await;
}

async fn a_node_keeps_the_old_key_for_as_long_as_it_is_needed(mut world: World) {
    let old = MasterKeyId::of(&master_key());
    let generation = fill(&world, "a").await;
    with_both_keys(&mut world).await;
    let rekey = switch(&world).await;
    let only_new = MasterKeyRing::new(&new_key(), None);
    world.store.hold_master_keys(&only_new).await.expect("held");
    assert_eq!(world.store.master_keys().ids(), [new_id(), old]);
    assert_readable(&world.store, "a", generation).await;
    let error = world.store.hold_master_keys(&MasterKeyRing::new(&master_key(), None)).await;
    assert!(matches!(error, Err(StoreError::MasterKeyReplaced { held, .. }) if held == old), "{error:?}");
    assert!(world.store.master_keys().holds(new_id()), "kept, for the store has it");
    world.store.reseal(|_| {}).await.expect("resealed");
    world.store.finish_rekey(&rekey, NO_NODES).await.expect("finished");
    assert!(world.store.hold_master_keys(&only_new).await.expect("held"));
    assert_eq!(world.store.master_keys().ids(), [new_id()]);
    assert_readable(&world.store, "a", generation).await;
}

#[test]
fn during_a_rekey_there_is_no_backup_and_no_move_to_postgres() {
    block_on(async {
        let mut world = World::sqlite().await;
        fill(&world, "a").await;
        with_both_keys(&mut world).await;
        let rekey = switch(&world).await;
        world.store.close().await;
        let file = world.data().join("../backup.db");
        let refused = back_up(world.data(), &file, None, Timestamp(0)).await;
        assert!(matches!(refused, Err(BackupError::Store(StoreError::RekeyUnderWay))), "{refused:?}");
        assert!(!file.exists());
        let server = PostgresServer::shared();
        let target = Servers::parse([server.database()]).expect("a URL");
        let refused = transfer(world.data(), &target, both(), |_| {}).await;
        assert!(matches!(refused, Err(TransferError::Source(StoreError::RekeyUnderWay))), "{refused:?}");

        world.store = open(&world, both()).await.expect("it opens");
        world.store.reseal(|_| {}).await.expect("resealed");
        world.store.finish_rekey(&rekey, NO_NODES).await.expect("finished");
        world.store.close().await;
        let backup = back_up(world.data(), &file, None, Timestamp(0)).await.expect("backed up");
        assert_eq!(backup.manifest().master_key, new_id().to_string());
        transfer(world.data(), &target, &new_key(), |_| {}).await.expect("moved");
    });
}

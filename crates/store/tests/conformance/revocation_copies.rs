//! Deny-lists and CRLs in a node's replica.

use std::collections::BTreeSet;

use certward_pki::DenyKey;
use certward_store::{
    Deployment, DeploymentId, Generation, Reader, Replica, RevocationChange, StoreError, Version,
};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::{
    crls::{content, crl, der, put, take_away},
    on_both_engines,
    revocations::{add, key, remove, revocation, since, stored},
    world::{World, id, master_key},
};

on_both_engines![
    what_is_new_is_copied_and_what_is_gone_goes,
    a_replica_follows_any_changes,
    pages_copy_them_too,
    a_copied_row_has_nothing_to_show,
    other_changes_leave_the_rows_as_they_are,
    after_another_history_nothing_wrong_stays,
    a_list_that_the_store_cannot_read_is_refused_alone,
    what_a_release_before_has_copied_is_copied_again,
];

struct Copying {
    replica: Replica,
    _folder: TempDir,
}

impl Copying {
    async fn of(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let replica = Replica::at(folder.path(), &master_key());
        replica.make(&world.store).await.expect("made");
        Self { replica, _folder: folder }
    }

    async fn copy(&self, world: &World, ids: &[&DeploymentId]) {
        let ids: Vec<DeploymentId> = ids.iter().map(|id| (*id).clone()).collect();
        let row = world.store.read_as_member().newest_position().await.expect("read");
        self.replica.copy(&world.store, &ids, Some(row)).await.expect("copied");
    }

    async fn sql(&self, sql: &'static str) -> String {
        let mut conn = SqliteConnection::connect(&format!("sqlite://{}", self.replica.path().display()))
            .await
            .expect("open");
        sqlx::raw_sql("PRAGMA foreign_keys = ON").execute(&mut conn).await.expect("set");
        let answer = sqlx::query_scalar(sql).fetch_optional(&mut conn).await.expect("answered");
        conn.close().await.expect("closed");
        answer.unwrap_or_default()
    }
}

async fn list(reader: &Reader, of: &DeploymentId) -> BTreeSet<DenyKey> {
    let (change, _) = since(reader, of, None).await;
    let RevocationChange::All(keys) = change else { panic!("{change:?}") };
    keys.into_iter().collect()
}

async fn alike(world: &World, copying: &Copying, of: &DeploymentId) {
    let (there, here) = (world.store.read(), copying.replica.read());
    assert_eq!(stored(&here, of).await, stored(&there, of).await);
    assert_eq!(list(&here, of).await, list(&there, of).await);
    let revisions = there.crl_revisions(of).await.expect("read");
    assert_eq!(here.crl_revisions(of).await.expect("read"), revisions);
    for (id, _) in revisions {
        assert_eq!(
            here.served_crl(of, &id).await.expect("read"),
            there.served_crl(of, &id).await.expect("read"),
            "{id}"
        );
    }
}

async fn what_is_new_is_copied_and_what_is_gone_goes(world: World) {
    let made = world.deployment("a").await.id;
    let copying = Copying::of(&world).await;
    add(&world, &made, &[1, 2]).await;
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    add(&world, &made, &[3]).await;
    let large = der(1, 2_000_000);
    put(&world, &made, crl("one", Some(content(1, &large))), Some(&large)).await;
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    remove(&world, &made, revocation(1, Generation(0)).id).await;
    put(&world, &made, crl("one", Some(content(2, b"x"))), Some(b"x")).await;
    put(&world, &made, crl("two", Some(content(3, b"y"))), Some(b"y")).await;
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    assert!(take_away(&world, &made, "one").await);
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    take_away(&world, &made, "two").await;
    for number in [2, 3] {
        remove(&world, &made, revocation(number, Generation(0)).id).await;
    }
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    for table in
        ["SELECT CAST(count(*) AS TEXT) FROM revocation", "SELECT CAST(count(*) AS TEXT) FROM crl_part"]
    {
        assert_eq!(copying.sql(table).await, "0", "{table}");
    }
    add(&world, &made, &[9]).await;
    copying.copy(&world, &[&made]).await;
    let mut tx = world.begin().await;
    tx.draw_generation(&made).await.expect("a generation");
    tx.remove_deployment(&made).await.expect("removed");
    tx.commit().await.expect("committed");
    copying.copy(&world, &[&made]).await;
    assert_eq!(copying.sql("SELECT CAST(count(*) AS TEXT) FROM revocation").await, "0");
}

/// Random changes; copied at random points, with other deployments.
async fn a_replica_follows_any_changes(world: World) {
    let ids =
        [world.deployment("a").await.id, world.deployment("b").await.id, world.deployment("c").await.id];
    let copying = Copying::of(&world).await;
    let mut random = 7_u32;
    let mut draw = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % below
    };
    let mut listed: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); ids.len()];
    let mut revision = 0_u8;
    for _ in 0..120 {
        let at = draw(2) as usize;
        let (of, listed) = (&ids[at], &mut listed[at]);
        let number = draw(20);
        match draw(6) {
            0 | 1 => {
                if listed.insert(number) {
                    add(&world, of, &[number]).await;
                }
            }
            2 => {
                if listed.remove(&number) {
                    remove(&world, of, revocation(number, Generation(0)).id).await;
                }
            }
            3 => {
                revision += 1;
                let name = ["one", "two"][draw(2) as usize];
                put(&world, of, crl(name, Some(content(revision, &[revision]))), Some(&[revision])).await;
            }
            4 => drop(take_away(&world, of, ["one", "two"][draw(2) as usize]).await),
            _ => {
                copying.copy(&world, &[&ids[0], &ids[1], &ids[2]]).await;
                for of in &ids {
                    alike(&world, &copying, of).await;
                }
            }
        }
    }
}

async fn pages_copy_them_too(world: World) {
    for number in 10..60 {
        let made = world.deployment(&format!("d{number}")).await.id;
        if number % 3 == 0 {
            add(&world, &made, &[number, number + 100]).await;
        }
    }
    put(&world, &id("d11"), crl("one", Some(content(1, b"x"))), Some(b"x")).await;
    let copying = Copying::of(&world).await;
    for round in 0..2 {
        let mut after = None;
        loop {
            after = copying.replica.copy_page(&world.store, after.as_ref(), 30).await.expect("copied");
            if after.is_none() {
                break;
            }
        }
        for number in 10..60 {
            alike(&world, &copying, &id(&format!("d{number}"))).await;
        }
        add(&world, &id("d11"), &[round]).await;
        remove(&world, &id("d12"), revocation(12, Generation(0)).id).await;
    }
}

async fn a_copied_row_has_nothing_to_show(world: World) {
    let made = world.deployment("a").await.id;
    add(&world, &made, &[1]).await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &[&made]).await;
    let shown =
        "SELECT kind || reason || revoked_by || coalesce(name, '') || coalesce(issuer, '') FROM revocation";
    assert_eq!(copying.sql(shown).await, "", "names are personal data");
}

async fn other_changes_leave_the_rows_as_they_are(world: World) {
    let made = world.deployment("a").await.id;
    add(&world, &made, &[1]).await;
    put(&world, &made, crl("one", Some(content(1, b"x"))), Some(b"x")).await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &[&made]).await;
    // Shows whether rows are written again.
    copying.sql("UPDATE revocation SET reason = 'the same row'").await;
    copying.sql("UPDATE crl SET issuer = 'the same row'").await;
    let uploaded = world.upload(&made, b"key").await;
    add(&world, &made, &[2]).await;
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    let version: Option<Version> =
        copying.replica.read().version(&made, uploaded.into()).await.expect("read");
    assert!(version.is_some());
    let same = "SELECT CAST(count(*) AS TEXT) FROM revocation WHERE reason = 'the same row'";
    assert_eq!(copying.sql(same).await, "1");
    assert_eq!(copying.sql("SELECT issuer FROM crl").await, "the same row");
}

async fn after_another_history_nothing_wrong_stays(world: World) {
    let made = world.deployment("a").await.id;
    add(&world, &made, &[1]).await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &[&made]).await;
    // The server that took over has not got the last change, and numbers another one alike.
    let lost = add(&world, &made, &[2]).await;
    put(&world, &made, crl("lost", Some(content(1, b"x"))), Some(b"x")).await;
    copying.copy(&world, &[&made]).await;
    remove(&world, &made, revocation(2, Generation(0)).id).await;
    take_away(&world, &made, "lost").await;
    add(&world, &made, &[3, 4]).await;
    let renumber = format!("UPDATE revocation SET generation = {lost} WHERE name <> 'device-1'");
    world.tamper(&renumber).await;
    copying.copy(&world, &[&made]).await;
    alike(&world, &copying, &made).await;
    let listed = list(&copying.replica.read(), &made).await;
    assert_eq!(listed, BTreeSet::from([key(1), key(3), key(4)]));
}

async fn a_list_that_the_store_cannot_read_is_refused_alone(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    for of in [&a, &b] {
        world.upload(of, b"key").await;
        add(&world, of, &[1]).await;
    }
    let copying = Copying::of(&world).await;
    copying.copy(&world, &[&a, &b]).await;
    for of in [&a, &b] {
        add(&world, of, &[2]).await;
    }
    world.tamper("DELETE FROM revocation WHERE deployment = 'a'").await;
    let ids = [a.clone(), b.clone()];
    let copied = copying.replica.copy(&world.store, &ids, None).await.expect("copied");
    assert_eq!(copied[&a], None);
    assert_eq!(copied[&b], Some(stored(&world.store.read(), &b).await.generation));
    alike(&world, &copying, &b).await;
    let here: Deployment = stored(&copying.replica.read(), &a).await;
    let version = here.tls.version().expect("one");
    let served = copying.replica.read().version(&a, version).await.expect("read");
    assert!(served.is_none(), "the copy before knows a shorter list");
}

/// Which knows neither column nor table.
async fn what_a_release_before_has_copied_is_copied_again(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    add(&world, &a, &[1]).await;
    let copying = Copying::of(&world).await;
    copying.copy(&world, &[&a, &b]).await;
    assert!(copying.replica.is_of(&world.store).await.expect("answered"));
    copying.sql("DELETE FROM revocation").await;
    copying.sql("UPDATE deployment SET revocation_mark = NULL").await;
    assert!(!copying.replica.is_of(&world.store).await.expect("answered"));
    copying.sql("UPDATE deployment SET generation = 0").await;
    assert!(copying.replica.is_of(&world.store).await.expect("answered"), "it is only behind");
    copying.copy(&world, &[&a]).await;
    alike(&world, &copying, &a).await;
    // Its own rows are not those of its mark.
    copying.sql("DELETE FROM revocation").await;
    let here = copying.replica.read();
    let read = here.revocations_since(&stored(&here, &a).await, None).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

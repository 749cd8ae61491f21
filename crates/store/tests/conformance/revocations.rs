//! Deny-lists: their rows, the deployment's mark, and what a reader must read.

use std::collections::BTreeMap;

use certward_pki::{DenyKey, DeviceId};
use certward_store::{
    ApiKey, Deployment, DeploymentId, Generation, KnownRevocations, REVOCATIONS_MAX, Reader, Revocation,
    RevocationChange, RevocationId, RevocationMark, RevocationTotal, RevokedWhat, StoreError, Timestamp,
    TlsState,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::{
    on_both_engines,
    world::{World, id},
};

on_both_engines![
    a_revocation_reads_as_it_was_stored_newest_first,
    a_revocation_is_found_by_its_key_in_its_deployment,
    the_mark_follows_what_is_added_and_removed,
    a_reader_reads_what_is_new_or_all,
    readers_know_the_list_after_any_changes,
    rows_that_the_mark_does_not_stand_for_are_an_error,
    a_deny_list_has_a_bound,
    all_goes_with_the_deployment,
];

pub(crate) fn revocation(number: u32, generation: Generation) -> Revocation {
    let mut random = [0x5a; 16];
    random[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    random[4..8].copy_from_slice(&number.to_be_bytes());
    Revocation {
        id: RevocationId(random),
        generation,
        what: RevokedWhat::Name { name: format!("device-{number}"), issuer: None },
        reason: String::new(),
        revoked_by: ApiKey::parse("someKey1").expect("a key"),
        revoked_at: Timestamp(1_700_000_000_000),
    }
}

/// As a change of the deny-list does it.
pub(crate) async fn add(world: &World, deployment: &DeploymentId, numbers: &[u32]) -> Generation {
    let mut tx = world.begin().await;
    let found = tx.deployment(deployment).await.expect("read").expect("there");
    let generation = tx.draw_generation(deployment).await.expect("a generation");
    let added: Vec<_> = numbers.iter().map(|number| revocation(*number, generation)).collect();
    tx.insert_revocations(deployment, &added).await.expect("written");
    tx.set_tls(deployment, generation, &found.tls).await.expect("written");
    tx.commit().await.expect("committed");
    generation
}

pub(crate) async fn remove(world: &World, deployment: &DeploymentId, revoked: RevocationId) -> bool {
    let mut tx = world.begin().await;
    let found = tx.deployment(deployment).await.expect("read").expect("there");
    let removed = tx.remove_revocation(deployment, revoked).await.expect("removed");
    let generation = tx.draw_generation(deployment).await.expect("a generation");
    tx.set_tls(deployment, generation, &found.tls).await.expect("written");
    tx.commit().await.expect("committed");
    removed
}

pub(crate) async fn stored(reader: &Reader, deployment: &DeploymentId) -> Deployment {
    reader.deployment(deployment).await.expect("read").expect("there")
}

/// Nothing else changes the deployment in between.
pub(crate) async fn since(
    reader: &Reader,
    deployment: &DeploymentId,
    known: Option<KnownRevocations>,
) -> (RevocationChange, KnownRevocations) {
    let found = stored(reader, deployment).await;
    reader.revocations_since(&found, known).await.expect("read")
}

pub(crate) fn key(number: u32) -> DenyKey {
    DenyKey::named(&format!("device-{number}"))
}

async fn listed(world: &World, deployment: &DeploymentId) -> Vec<Revocation> {
    world.store.read().revocations(deployment, None, 1_000).await.expect("read")
}

async fn a_revocation_reads_as_it_was_stored_newest_first(world: World) {
    let made = world.deployment("a").await;
    let (issuer, serial) = ("CN=Devices \"1\"".to_owned(), "7f01".to_owned());
    let fingerprint = "ab".repeat(32);
    let whats = [
        RevokedWhat::Certificate {
            device: DeviceId([3; 16]),
            fingerprint,
            issuer: issuer.clone(),
            serial: serial.clone(),
        },
        RevokedWhat::Serial { issuer: issuer.clone(), serial },
        RevokedWhat::Name { name: "müller".to_owned(), issuer: None },
        RevokedWhat::Name { name: "müller".to_owned(), issuer: Some(issuer) },
    ];
    let mut expected = Vec::new();
    for (number, what) in (0..).zip(whats) {
        let mut tx = world.begin().await;
        let generation = tx.draw_generation(&made.id).await.expect("a generation");
        let reason = format!("reason {number}");
        let revocation = Revocation { what, reason, ..revocation(number, generation) };
        tx.insert_revocations(&made.id, std::slice::from_ref(&revocation)).await.expect("written");
        tx.commit().await.expect("committed");
        expected.insert(0, revocation);
    }
    assert_eq!(listed(&world, &made.id).await, expected);
    let reader = world.store.read();
    let mut paged = Vec::new();
    while let page = reader
        .revocations(&made.id, paged.last().map(|last: &Revocation| (last.generation, last.id)), 3)
        .await
        .expect("read")
        && !page.is_empty()
    {
        paged.extend(page);
        // Pages stay in order although newer ones come.
        add(&world, &made.id, &[1_000 + paged.len() as u32]).await;
    }
    assert_eq!(paged, expected);
    let one = reader.revocation(&made.id, expected[2].id).await.expect("read");
    assert_eq!(one.as_ref(), Some(&expected[2]));
    assert_eq!(reader.revocation(&made.id, RevocationId([9; 16])).await.expect("read"), None);
}

async fn a_revocation_is_found_by_its_key_in_its_deployment(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    add(&world, &a, &[1, 2, 3]).await;
    add(&world, &b, &[4]).await;
    let mut tx = world.begin().await;
    let found = tx.revocations_by(&a, &[key(1), key(3), key(4), key(9)]).await.expect("read");
    let found: Vec<_> = found.iter().map(|found| found.what.key()).collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&key(1)) && found.contains(&key(3)));
    assert!(tx.revocations_by(&a, &[]).await.expect("read").is_empty());
}

async fn the_mark_follows_what_is_added_and_removed(world: World) {
    let made = world.deployment("a").await.id;
    let reader = world.store.read();
    let mark = async || stored(&reader, &made).await.revocations;
    assert_eq!(mark().await, RevocationMark::default());
    add(&world, &made, &[1, 2]).await;
    let both =
        RevocationMark::default() ^ revocation(1, Generation(0)).id.0 ^ revocation(2, Generation(0)).id.0;
    assert_eq!(mark().await, both);
    assert!(!remove(&world, &made, revocation(3, Generation(0)).id).await);
    assert_eq!(mark().await, both);
    assert!(remove(&world, &made, revocation(1, Generation(0)).id).await);
    assert_eq!(mark().await, RevocationMark::default() ^ revocation(2, Generation(0)).id.0);
    assert!(remove(&world, &made, revocation(2, Generation(0)).id).await);
    assert_eq!(mark().await, RevocationMark::default());
    assert_eq!(reader.revocation_total(&made).await.expect("read").listed, 0);
}

async fn a_reader_reads_what_is_new_or_all(world: World) {
    use RevocationChange::{Added, All};
    let made = world.deployment("a").await.id;
    let reader = world.store.read();
    let (change, known) = since(&reader, &made, None).await;
    assert_eq!(change, All(vec![]));
    add(&world, &made, &[1]).await;
    let (change, known) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, Added(vec![key(1)]));
    // A change of something else.
    let mut tx = world.begin().await;
    let generation = tx.draw_generation(&made).await.expect("a generation");
    tx.set_tls(&made, generation, &TlsState::Absent).await.expect("written");
    tx.commit().await.expect("committed");
    let (change, known) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, Added(vec![]));
    add(&world, &made, &[2]).await;
    let (change, known) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, Added(vec![key(2)]));
    remove(&world, &made, revocation(1, Generation(0)).id).await;
    let (change, known) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, All(vec![key(2)]));
    remove(&world, &made, revocation(2, Generation(0)).id).await;
    let (change, _) = since(&reader, &made, Some(known)).await;
    assert_eq!(change, All(vec![]));
}

/// Random additions and removals; three readers, each at random points.
async fn readers_know_the_list_after_any_changes(world: World) {
    let made = world.deployment("a").await.id;
    let config = Config { rng_seed: RngSeed::Fixed(7), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let steps = proptest::collection::vec((0..6_u8, 0..40_u32, 1..4_u32), 150);
    let steps = steps.new_tree(&mut runner).expect("steps").current();
    let reader = world.store.read();
    let mut model: BTreeMap<u32, RevocationId> = BTreeMap::new();
    let mut readers: [(Option<KnownRevocations>, Vec<DenyKey>); 3] = Default::default();
    let (mut added, mut whole) = (0, 0);
    for (step, (action, number, count)) in steps.into_iter().enumerate() {
        match action {
            0..=1 => {
                let new: Vec<u32> = (number..number + count).filter(|new| !model.contains_key(new)).collect();
                if !new.is_empty() {
                    add(&world, &made, &new).await;
                    model.extend(new.iter().map(|new| (*new, revocation(*new, Generation(0)).id)));
                }
            }
            2 => {
                let removed = model.remove(&number);
                let there = removed.is_some();
                let removed = removed.unwrap_or_else(|| revocation(number, Generation(0)).id);
                assert_eq!(remove(&world, &made, removed).await, there, "step {step}");
            }
            _ => {
                let (known, list) = &mut readers[usize::from(action) - 3];
                let (change, now) = since(&reader, &made, *known).await;
                match change {
                    RevocationChange::Added(keys) => {
                        added += usize::from(!keys.is_empty());
                        list.extend(keys);
                    }
                    RevocationChange::All(keys) => {
                        whole += 1;
                        *list = keys;
                    }
                }
                *known = Some(now);
                let mut expected: Vec<DenyKey> = model.keys().map(|number| key(*number)).collect();
                expected.sort();
                list.sort();
                assert_eq!(*list, expected, "step {step}");
            }
        }
    }
    assert!(added > 5 && whole > 5, "both ways are taken: {added}, {whole}");
}

async fn rows_that_the_mark_does_not_stand_for_are_an_error(world: World) {
    let made = world.deployment("a").await.id;
    add(&world, &made, &[1, 2]).await;
    let reader = world.store.read();
    let (_, known) = since(&reader, &made, None).await;
    world.tamper("DELETE FROM revocation WHERE name = 'device-1'").await;
    let found = stored(&reader, &made).await;
    let read = reader.revocations_since(&found, None).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    // What was known before is as good as it was.
    assert_eq!(since(&reader, &made, Some(known)).await.0, RevocationChange::Added(vec![]));
}

async fn a_deny_list_has_a_bound(world: World) {
    let (a, b) = (world.deployment("a").await.id, world.deployment("b").await.id);
    add(&world, &a, &[1, 2]).await;
    let reader = world.store.read();
    let total = async |of: &DeploymentId| reader.revocation_total(of).await.expect("read");
    assert_eq!(total(&a).await, RevocationTotal { listed: 2, room: REVOCATIONS_MAX - 2 });
    assert_eq!(total(&b).await, RevocationTotal { listed: 0, room: REVOCATIONS_MAX });
    assert_eq!(total(&id("none")).await, RevocationTotal { listed: 0, room: REVOCATIONS_MAX });
    world.tamper("UPDATE deployment SET revocation_count = 100000 WHERE id = 'a'").await;
    assert_eq!(total(&a).await, RevocationTotal { listed: REVOCATIONS_MAX, room: 0 });
    world.tamper("UPDATE deployment SET revocation_count = 999999 WHERE id = 'a'").await;
    assert_eq!(total(&b).await, RevocationTotal { listed: 0, room: 1 });
}

async fn all_goes_with_the_deployment(world: World) {
    let made = world.deployment("a").await.id;
    add(&world, &made, &[1]).await;
    let (_, known) = since(&world.store.read(), &made, None).await;
    let mut tx = world.begin().await;
    tx.draw_generation(&made).await.expect("a generation");
    tx.remove_deployment(&made).await.expect("removed");
    tx.commit().await.expect("committed");
    assert_eq!(world.asked("SELECT CAST(count(*) AS TEXT) FROM revocation").await, "0");
    let again = world.deployment("a").await;
    assert!(again.revocations.is_empty());
    let reader = world.store.read();
    assert_eq!(since(&reader, &made, Some(known)).await.0, RevocationChange::All(vec![]));
    assert_eq!(reader.revocation_total(&made).await.expect("read").listed, 0);
}

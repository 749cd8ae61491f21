//! The longest deny-list and the largest CRL: what they cost. Prints figures; run alone.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::time::Instant;

use certward_store::{Replica, RevocationChange};

use crate::{
    block_on,
    crls::{content, crl, crl_id, der, put},
    revocations::{add, remove, revocation, since},
    world::{World, master_key},
};

const LONGEST: u32 = 100_000;
const AT_ONCE: u32 = 1_000;
const LARGEST: usize = 16 * 1024 * 1024;

#[test]
#[ignore = "a measurement"]
fn the_longest_deny_list_and_the_largest_crl() {
    block_on(async {
        for (engine, world) in [("SQLite", World::sqlite().await), ("PostgreSQL", World::postgres().await)] {
            measure(engine, &world).await;
        }
    });
}

async fn measure(engine: &str, world: &World) {
    let made = world.deployment("a").await.id;
    let reader = world.store.read();
    let folder = tempfile::tempdir().expect("a folder");
    let replica = Replica::at(folder.path(), &master_key());
    replica.make(&world.store).await.expect("made");
    let say = |what: &str, began: Instant| println!("{engine}: {what}: {:?}", began.elapsed());
    let copy = async || {
        let copied = replica.copy(&world.store, std::slice::from_ref(&made), None).await.expect("copied");
        assert!(copied[&made].is_some());
    };

    let began = Instant::now();
    for from in (0..LONGEST).step_by(AT_ONCE as usize) {
        add(world, &made, &(from..from + AT_ONCE).collect::<Vec<_>>()).await;
    }
    say("100,000 added in changes of 1,000", began);
    println!("{engine}: bytes of the table and its indexes: {}", size(world).await);
    let began = Instant::now();
    let (change, known) = since(&reader, &made, None).await;
    say("all read", began);
    assert!(matches!(change, RevocationChange::All(keys) if keys.len() == LONGEST as usize));
    let began = Instant::now();
    copy().await;
    say("all copied to a replica", began);
    let copied = std::fs::metadata(replica.path()).expect("there").len();
    println!("{engine}: bytes of the replica: {copied}");

    let began = Instant::now();
    add(world, &made, &[LONGEST]).await;
    say("one more added", began);
    let began = Instant::now();
    let (change, known) = since(&reader, &made, Some(known)).await;
    say("one more read", began);
    assert!(matches!(change, RevocationChange::Added(keys) if keys.len() == 1));
    let began = Instant::now();
    copy().await;
    say("one more copied", began);

    remove(world, &made, revocation(7, certward_store::Generation(0)).id).await;
    let began = Instant::now();
    let (change, _) = since(&reader, &made, Some(known)).await;
    say("read after a removal", began);
    assert!(matches!(change, RevocationChange::All(keys) if keys.len() == LONGEST as usize));
    let began = Instant::now();
    copy().await;
    say("copied after a removal", began);

    let bytes = der(1, LARGEST);
    let began = Instant::now();
    put(world, &made, crl("large", Some(content(1, &bytes))), Some(&bytes)).await;
    say("a CRL of 16 MiB stored", began);
    let began = Instant::now();
    let served = reader.served_crl(&made, &crl_id("large")).await.expect("read").expect("there");
    say("a CRL of 16 MiB read", began);
    assert_eq!(served.der.len(), LARGEST);
    let began = Instant::now();
    copy().await;
    say("a CRL of 16 MiB copied", began);
}

async fn size(world: &World) -> String {
    match world.is_postgres() {
        true => world.asked("SELECT pg_total_relation_size('revocation')::text").await,
        false => {
            let pages =
                "SELECT CAST(page_count * page_size AS TEXT) FROM pragma_page_count, pragma_page_size";
            world.asked(pages).await
        }
    }
}

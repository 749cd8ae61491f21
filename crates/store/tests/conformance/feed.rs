use std::time::Duration;

use certward_store::{AuditEntry, FeedEntry, Generation};

use crate::{
    on_both_engines,
    world::{World, id},
};

on_both_engines![
    the_feed_tells_every_change_in_order,
    the_order_of_the_feed_is_the_order_of_the_commits,
    a_reader_behind_what_was_pruned_starts_anew,
    generations_grow_on_after_a_restart,
    a_waiter_is_woken_by_a_commit_and_not_by_a_renewal,
    the_audit_gives_the_newest_first,
];

async fn change(world: &World, name: &str) -> Generation {
    let mut tx = world.begin().await;
    let generation = tx.draw_generation(&id(name)).await.expect("a generation");
    tx.commit().await.expect("committed");
    generation
}

async fn the_feed_tells_every_change_in_order(world: World) {
    let start = world.store.newest_generation().await.expect("read");
    assert_eq!(start, Generation(0));
    let mut expected = Vec::new();
    for name in ["a", "b", "a", "c"] {
        expected.push(FeedEntry { generation: change(&world, name).await, deployment: id(name) });
    }
    let after = async |generation, limit| world.store.feed_after(generation, limit).await.expect("read");
    assert_eq!(after(start, 100).await, Some(expected.clone()));
    assert_eq!(after(start, 2).await, Some(expected[..2].to_vec()));
    assert_eq!(after(expected[1].generation, 100).await, Some(expected[2..].to_vec()));
    assert_eq!(after(expected[3].generation, 100).await, Some(Vec::new()));
    assert_eq!(world.store.newest_generation().await.expect("read"), expected[3].generation);
    // A reader that knows more than the store: it was restored from a backup.
    assert_eq!(after(Generation(expected[3].generation.0 + 1), 100).await, None);
}

async fn the_order_of_the_feed_is_the_order_of_the_commits(world: World) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = world.store.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let mut tx = store.begin().await.expect("a transaction");
                    tx.draw_generation(&id(&format!("d{writer}"))).await.expect("a generation");
                    tx.commit().await.expect("committed");
                }
            })
        })
        .collect();
    // A reader that goes on from the newest it has seen must miss nothing.
    let (mut newest, mut seen) = (Generation(0), Vec::new());
    while seen.len() < 80 {
        let changed = world.store.changed();
        let entries = world.store.feed_after(newest, 7).await.expect("read").expect("nothing is pruned");
        match entries.last() {
            Some(last) => newest = last.generation,
            None => {
                tokio::time::timeout(Duration::from_secs(10), changed).await.expect("a change is told");
            }
        }
        seen.extend(entries);
    }
    assert!(seen.iter().map(|entry| entry.generation.0).eq(1..=80));
    for writer in writers {
        writer.await.expect("no panic");
    }
}

async fn a_reader_behind_what_was_pruned_starts_anew(world: World) {
    let old = [change(&world, "a").await, change(&world, "b").await];
    world.make_feed_older(Duration::from_secs(8 * 24 * 60 * 60)).await;
    let new = change(&world, "c").await;
    world.store.prune(Duration::from_secs(3600)).await.expect("pruned");
    assert_eq!(world.store.feed_after(Generation(0), 10).await.expect("read"), None);
    assert_eq!(world.store.feed_after(old[0], 10).await.expect("read"), None);
    let rest =
        world.store.feed_after(old[1], 10).await.expect("read").expect("all that is after it is there");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].generation, new);
    assert_eq!(world.store.newest_generation().await.expect("read"), new);
    assert!(change(&world, "a").await > new, "never used again");
}

async fn generations_grow_on_after_a_restart(world: World) {
    let before = change(&world, "a").await;
    let store = world.reopen().await;
    let mut tx = store.begin().await.expect("a transaction");
    assert!(tx.draw_generation(&id("a")).await.expect("a generation") > before);
}

async fn a_waiter_is_woken_by_a_commit_and_not_by_a_renewal(world: World) {
    let node = crate::world::node("n1");
    let until = world.later(Duration::from_secs(60)).await;
    world.lease(&node, until).await;
    let changed = world.store.changed();
    tokio::pin!(changed);
    world.lease(&node, until).await;
    let mut tx = world.begin().await;
    tx.draw_generation(&id("a")).await.expect("a generation");
    drop(tx);
    assert!(futures_util::FutureExt::now_or_never(&mut changed).is_none());
    change(&world, "a").await;
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("woken");
}

async fn the_audit_gives_the_newest_first(world: World) {
    for n in 0..3 {
        let mut tx = world.begin().await;
        let entry = AuditEntry {
            actor: "key".into(),
            action: "tls.replace",
            subject: format!("d{n}"),
            detail: "a\0detail".into(),
        };
        tx.audit(entry).await.expect("written");
        tx.commit().await.expect("committed");
    }
    let records = world.store.audit(2).await.expect("read");
    let subjects: Vec<&str> = records.iter().map(|record| record.subject.as_str()).collect();
    assert_eq!(subjects, ["d2", "d1"]);
    assert!(records[0].number > records[1].number);
    assert_eq!((records[0].action.as_str(), records[0].detail.as_str()), ("tls.replace", "a\u{fffd}detail"));
}

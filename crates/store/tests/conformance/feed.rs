use std::time::Duration;

use certward_store::{FeedEntry, FeedPage, FeedPosition, Generation, Session};

use crate::{
    on_both_engines,
    world::{World, id},
};

on_both_engines![
    the_feed_tells_every_change_in_order,
    the_order_of_the_feed_is_the_order_of_the_commits,
    a_reader_behind_the_pruned_rows_starts_again,
    the_newest_row_is_never_pruned,
    a_row_of_another_history_is_not_the_row_of_that_number,
    what_is_read_says_whether_the_history_goes_on,
    generations_grow_on_after_a_restart,
    a_waiter_is_woken_by_a_commit_and_not_by_a_renewal,
];

async fn change(world: &World, name: &str) -> FeedPosition {
    let mut tx = world.begin().await;
    tx.draw_generation(&id(name)).await.expect("a generation");
    tx.commit().await.expect("committed");
    world.store.read_as_member().newest_position().await.expect("read")
}

async fn after(world: &World, after: FeedPosition, limit: u32) -> FeedPage {
    world.store.read_as_member().feed_after(after, after, limit).await.expect("read")
}

async fn the_feed_tells_every_change_in_order(world: World) {
    assert_eq!(world.store.read_as_member().newest_position().await.expect("read"), FeedPosition::START);
    let mut expected = Vec::new();
    for name in ["a", "b", "a", "c"] {
        expected.push(FeedEntry { position: change(&world, name).await, deployment: id(name) });
    }
    let rows = |entries: &[FeedEntry]| FeedPage::Rows(entries.to_vec());
    assert_eq!(after(&world, FeedPosition::START, 100).await, rows(&expected));
    assert_eq!(after(&world, FeedPosition::START, 2).await, rows(&expected[..2]));
    assert_eq!(after(&world, expected[1].position, 100).await, rows(&expected[2..]));
    assert_eq!(after(&world, expected[3].position, 100).await, rows(&[]));
    assert_eq!(world.store.read().newest_generation().await.expect("read"), expected[3].generation());
    // The store was restored from a backup.
    let beyond = FeedPosition { generation: Generation(expected[3].generation().0 + 1), nonce: 1 };
    assert_eq!(after(&world, beyond, 100).await, FeedPage::OtherHistory);
}

async fn a_row_of_another_history_is_not_the_row_of_that_number(world: World) {
    let rows = [change(&world, "a").await, change(&world, "b").await];
    assert!(rows[0].nonce != 0 && rows[1].nonce != 0 && rows[0].nonce != rows[1].nonce);
    let other = |row: FeedPosition| FeedPosition { nonce: row.nonce ^ 1, ..row };
    assert_eq!(after(&world, other(rows[0]), 9).await, FeedPage::OtherHistory);
    // Content of a row newer than the feed's is checked as well.
    for (held, is_other) in [(rows[1], false), (other(rows[1]), true)] {
        let page = world.store.read_as_member().feed_after(rows[0], held, 9).await.expect("read");
        assert_eq!(page == FeedPage::OtherHistory, is_other, "{held:?}");
    }
    let mut tx = world.begin().await;
    for (row, has) in [(rows[0], true), (rows[1], true), (other(rows[1]), false), (FeedPosition::START, true)]
    {
        assert_eq!(tx.has(row).await.expect("read"), has, "{row:?}");
    }
}

async fn what_is_read_says_whether_the_history_goes_on(world: World) {
    let row = change(&world, "a").await;
    let unknown = FeedPosition { generation: Generation(row.generation.0 + 1), nonce: 5 };
    let cases = [
        (FeedPosition::START, true),
        (row, true),
        (FeedPosition { nonce: row.nonce ^ 1, ..row }, false),
        (unknown, false),
    ];
    for (held, continues) in cases {
        for reading in [world.store.reading(held).await, world.store.reading_as_member(held).await] {
            let reading = reading.expect("begun");
            assert_eq!((reading.as_of(), reading.continues()), (row, continues), "{held:?}");
        }
    }
}

async fn the_newest_row_is_never_pruned(world: World) {
    let row = change(&world, "a").await;
    world.make_feed_older(Duration::from_secs(8 * 24 * 60 * 60)).await;
    world.store.prune(Duration::from_secs(3600)).await.expect("pruned");
    assert_eq!(world.store.read_as_member().newest_position().await.expect("read"), row);
    assert_eq!(after(&world, row, 9).await, FeedPage::Rows(vec![]));
    assert_eq!(after(&world, FeedPosition { nonce: 0, ..row }, 9).await, FeedPage::OtherHistory);
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
    // Continuing from the newest row misses nothing.
    let (mut newest, mut seen) = (FeedPosition::START, Vec::new());
    while seen.len() < 80 {
        let changed = world.store.changed();
        let FeedPage::Rows(entries) = after(&world, newest, 7).await else { panic!("nothing is pruned") };
        match entries.last() {
            Some(last) => newest = last.position,
            None => {
                tokio::time::timeout(Duration::from_secs(10), changed).await.expect("a change is told");
            }
        }
        seen.extend(entries);
    }
    assert!(seen.iter().map(|entry| entry.generation().0).eq(1..=80));
    for writer in writers {
        writer.await.expect("no panic");
    }
}

async fn a_reader_behind_the_pruned_rows_starts_again(world: World) {
    let old = [change(&world, "a").await, change(&world, "b").await, change(&world, "c").await];
    world.make_feed_older(Duration::from_secs(8 * 24 * 60 * 60)).await;
    let new = change(&world, "d").await;
    world.store.prune(Duration::from_secs(3600)).await.expect("pruned");
    for gone in [FeedPosition::START, old[0], old[1], old[2]] {
        assert_eq!(after(&world, gone, 10).await, FeedPage::Pruned, "{gone:?}");
    }
    assert_eq!(after(&world, new, 10).await, FeedPage::Rows(vec![]));
    assert_eq!(world.store.read_as_member().newest_position().await.expect("read"), new);
    assert!(change(&world, "a").await.generation > new.generation, "never used again");
}

async fn generations_grow_on_after_a_restart(world: World) {
    let before = change(&world, "a").await;
    let store = world.reopen().await;
    let mut tx = store.begin().await.expect("a transaction");
    assert!(tx.draw_generation(&id("a")).await.expect("a generation") > before.generation);
}

async fn a_waiter_is_woken_by_a_commit_and_not_by_a_renewal(world: World) {
    let node = crate::world::node("n1");
    let until = world.later(Duration::from_secs(60)).await;
    world.join(&node, until).await;
    let changed = world.store.changed();
    tokio::pin!(changed);
    assert!(world.store.renew_lease(&node, Session(1), Duration::from_secs(60)).await.expect("renewed"));
    let mut tx = world.begin().await;
    tx.draw_generation(&id("a")).await.expect("a generation");
    drop(tx);
    assert!(futures_util::FutureExt::now_or_never(&mut changed).is_none());
    change(&world, "a").await;
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("woken");
}

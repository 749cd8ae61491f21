use certward_store::{Generation, StatusCounts, Timestamp, TlsState, Version};

use crate::{
    on_both_engines,
    world::{World, private_key, version},
};

on_both_engines![
    an_empty_store_has_nothing_to_count,
    every_state_is_counted_and_the_first_expiry_of_the_newest_uploads_found,
];

async fn an_empty_store_has_nothing_to_count(world: World) {
    assert_eq!(world.store.read().status_counts().await.expect("counted"), StatusCounts::default());
}

async fn every_state_is_counted_and_the_first_expiry_of_the_newest_uploads_found(world: World) {
    let newest = Generation(200);
    let states = [
        TlsState::Pending { version: newest.into(), deadline: Timestamp(1) },
        TlsState::Running { version: newest.into() },
        TlsState::Failed { version: newest.into(), reason: "r".into() },
    ];
    for (state, ends) in states.into_iter().zip(5_000..) {
        let made = world.deployment(&format!("set-{ends}")).await;
        let mut tx = world.begin().await;
        // An older upload's expiry no longer counts.
        for (generation, not_after) in [(Generation(100), Timestamp(10)), (newest, Timestamp(ends))] {
            let upload = Version { not_after, ..version(&made.id, generation) };
            tx.insert_version(&upload, &private_key(b"key")).await.expect("written");
        }
        tx.set_tls(&made.id, Generation(300), &state).await.expect("written");
        tx.commit().await.expect("committed");
    }
    world.deployment("absent").await;
    let made = world.deployment("terminated").await;
    let mut tx = world.begin().await;
    tx.set_tls(&made.id, Generation(300), &TlsState::Terminated).await.expect("written");
    tx.commit().await.expect("committed");
    let expected = StatusCounts {
        absent: 1,
        pending: 1,
        running: 1,
        failed: 1,
        terminated: 1,
        earliest_not_after: Some(Timestamp(5_000)),
    };
    assert_eq!(world.store.read().status_counts().await.expect("counted"), expected);
}

use std::{collections::VecDeque, time::Duration};

use certward_store::{Admission, ApiKey, Clock, Method, RequestLimit, Store, Timestamp};
use proptest::prelude::*;

use crate::{block_on, on_both_engines, world::World};

on_both_engines![
    of_two_hundred_at_once_exactly_sixty_pass,
    the_window_counts_on_after_a_restart,
    each_key_subject_and_method_is_counted_on_its_own,
    the_remaining_requests_and_the_reset_are_reported,
    one_more_passes_once_the_window_has_passed,
    pruning_forgets_only_what_no_window_holds,
];

const HOUR: Duration = Duration::from_secs(3600);

fn key(text: &str) -> ApiKey {
    ApiKey::parse(text).expect("a key")
}

async fn hit(store: &Store, limit: RequestLimit) -> Admission {
    store.admit(&key("k1"), "d1", Method::Get, limit).await.expect("decided")
}

async fn of_two_hundred_at_once_exactly_sixty_pass(world: World) {
    let limit = RequestLimit { requests: 60, window: HOUR };
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move {
                let mut passed = 0;
                for _ in 0..25 {
                    passed += u32::from(hit(&store, limit).await.admitted);
                }
                passed
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += task.await.expect("no panic");
    }
    assert_eq!(passed, 60);
}

async fn the_window_counts_on_after_a_restart(world: World) {
    let limit = RequestLimit { requests: 6, window: HOUR };
    for _ in 0..6 {
        assert!(hit(&world.store, limit).await.admitted);
    }
    let store = world.reopen().await;
    assert!(!hit(&store, limit).await.admitted);
}

async fn each_key_subject_and_method_is_counted_on_its_own(world: World) {
    let limit = RequestLimit { requests: 1, window: HOUR };
    for name in ["k1", "k2"] {
        for subject in ["d1", "d2", ""] {
            for method in [
                Method::Get,
                Method::Post,
                Method::Put,
                Method::Delete,
                Method::Check,
                Method::Neighbours,
                Method::Pages,
                Method::CloseSessions,
                Method::Revocation,
            ] {
                let hit = async || {
                    world.store.admit(&key(name), subject, method, limit).await.expect("decided").admitted
                };
                assert_eq!((hit().await, hit().await), (true, false), "{name} {subject} {method:?}");
            }
        }
    }
}

async fn the_remaining_requests_and_the_reset_are_reported(world: World) {
    let limit = RequestLimit { requests: 2, window: HOUR };
    for (admitted, remaining) in [(true, 1), (true, 0), (false, 0), (false, 0)] {
        let answer = hit(&world.store, limit).await;
        assert_eq!((answer.admitted, answer.limit, answer.remaining), (admitted, 2, remaining));
        assert!(answer.reset <= HOUR && answer.reset > HOUR - Duration::from_secs(60), "{answer:?}");
    }
}

async fn one_more_passes_once_the_window_has_passed(world: World) {
    let limit = RequestLimit { requests: 2, window: Duration::from_millis(700) };
    assert!(hit(&world.store, limit).await.admitted);
    assert!(hit(&world.store, limit).await.admitted);
    let refused = hit(&world.store, limit).await;
    assert!(!refused.admitted && refused.reset > Duration::ZERO);
    if world.is_postgres() {
        // The database's clock counts and cannot be moved.
        tokio::time::sleep(refused.reset).await;
    } else {
        world.clock.advance(refused.reset - Duration::from_millis(1));
        assert!(!hit(&world.store, limit).await.admitted, "not a millisecond early");
        world.clock.advance(Duration::from_millis(1));
    }
    assert!(hit(&world.store, limit).await.admitted);
}

async fn pruning_forgets_only_what_no_window_holds(world: World) {
    let limit = RequestLimit { requests: 1, window: HOUR };
    assert!(hit(&world.store, limit).await.admitted);
    world.store.prune(HOUR).await.expect("pruned");
    assert!(!hit(&world.store, limit).await.admitted);
    world.clock.advance(HOUR);
    world.store.prune(if world.is_postgres() { Duration::ZERO } else { HOUR }).await.expect("pruned");
    assert!(hit(&world.store, limit).await.admitted);
}

/// Keeps all admitted times.
struct Model {
    admitted: VecDeque<i64>,
}

impl Model {
    /// Also if the clock steps back.
    fn prune(&mut self, now: i64, limit: RequestLimit) {
        if self.admitted.back().is_some_and(|newest| *newest <= now - limit.window.as_millis() as i64) {
            self.admitted.clear();
        }
    }

    fn hit(&mut self, now: i64, limit: RequestLimit) -> (bool, u32, i64) {
        // The past shifts with the clock.
        if let Some(ahead) = self.admitted.back().map(|newest| newest - now).filter(|ahead| *ahead > 0) {
            self.admitted.iter_mut().for_each(|at| *at -= ahead);
        }
        let window = limit.window.as_millis() as i64;
        let inside = |at: &&i64| **at > now - window;
        let before = self.admitted.iter().filter(inside).count() as u32;
        let admitted = before < limit.requests;
        if admitted {
            self.admitted.push_back(now);
        }
        let oldest = *self.admitted.iter().find(inside).expect("there is one: it was admitted or refused");
        let after = before + u32::from(admitted);
        (admitted, limit.requests.saturating_sub(after), oldest + window - now)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Hit,
    Wait(u32),
    TurnBack(u32),
    Prune,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Hit),
        4 => (0..400_u32).prop_map(Step::Wait),
        1 => (0..3000_u32).prop_map(Step::Wait),
        1 => (0..5000_u32).prop_map(Step::TurnBack),
        1 => Just(Step::Prune),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_decided_as_the_plain_model_decides_it(steps in steps(), requests in 1..6_u32) {
        let limit = RequestLimit { requests, window: Duration::from_millis(1000) };
        block_on(async move {
            let world = World::sqlite().await;
            let mut model = Model { admitted: VecDeque::new() };
            for (n, step) in steps.iter().enumerate() {
                match step {
                    Step::Wait(by) => world.clock.advance(Duration::from_millis(u64::from(*by))),
                    Step::TurnBack(by) => world.clock.set(Timestamp(world.clock.now().0 - i64::from(*by))),
                    Step::Prune => {
                        world.store.prune(limit.window).await.expect("pruned");
                        model.prune(world.clock.now().0, limit);
                    }
                    Step::Hit => {
                        let answer = hit(&world.store, limit).await;
                        let told = (answer.admitted, answer.remaining, answer.reset.as_millis() as i64);
                        assert_eq!(told, model.hit(world.clock.now().0, limit), "step {n} of {steps:?}");
                    }
                }
            }
        });
    }
}

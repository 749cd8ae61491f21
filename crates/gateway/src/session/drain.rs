//! Closes connections evenly over time, so that devices do not reconnect at once.

use std::time::Duration;

use certward_lifecycle::Entropy;
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use crate::session::registry::{ConnectionSignal, Registry};

const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);
/// Signals between yields; each connection then encrypts a close_notify, some microseconds.
const SIGNALS_PER_YIELD: usize = 256;

/// Signals the current connections evenly over `time`, in random order: never one deployment at
/// once.
pub(crate) async fn end_over(registry: &Registry, time: Duration, entropy: &dyn Entropy) {
    let mut waiting = registry.all_connections();
    shuffle(&mut waiting, entropy);
    let (began, total) = (Instant::now(), waiting.len());
    while !waiting.is_empty() {
        let passed = began.elapsed();
        let stay = staying(total, passed, time).min(waiting.len());
        for (count, live) in waiting.drain(stay..).enumerate() {
            live.send(ConnectionSignal::Shutdown);
            if count % SIGNALS_PER_YIELD == SIGNALS_PER_YIELD - 1 {
                yield_now().await;
            }
        }
        if !waiting.is_empty() {
            sleep(SIGNAL_INTERVAL.min(time.saturating_sub(passed))).await;
        }
    }
}

/// How many of `total` remain after `passed`.
fn staying(total: usize, passed: Duration, time: Duration) -> usize {
    let left = time.saturating_sub(passed).as_millis();
    let staying = (total as u128 * left).div_ceil(time.as_millis().max(1));
    usize::try_from(staying).unwrap_or(total)
}

/// Fisher-Yates; the modulo bias of 2^64 is negligible.
fn shuffle<T>(list: &mut [T], entropy: &dyn Entropy) {
    for last in (1..list.len()).rev() {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let chosen = u64::from_le_bytes(random) % (last as u64 + 1);
        list.swap(last, usize::try_from(chosen).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use certward_lifecycle::SystemEntropy;

    use super::*;

    #[test]
    fn connections_end_evenly_over_the_time() {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        let cases = [
            (1000, s(0), s(10), 1000),
            (1000, s(1), s(10), 900),
            (1000, ms(9_990), s(10), 1),
            (1000, s(10), s(10), 0),
            (1000, s(11), s(10), 0),
            (1, ms(9_999), s(10), 1),
            (1000, s(0), s(0), 0),
            (0, s(0), s(10), 0),
            (1_000_000, s(1800), s(3600), 500_000),
        ];
        for (total, passed, time, expected) in cases {
            assert_eq!(staying(total, passed, time), expected, "{total} after {passed:?} of {time:?}");
        }
    }

    #[test]
    fn the_order_differs_each_time_and_is_complete() {
        let sorted: Vec<u32> = (0..100).collect();
        let [first, second] = std::array::from_fn(|_| {
            let mut list = sorted.clone();
            shuffle(&mut list, &SystemEntropy);
            list
        });
        assert_ne!(first, second);
        for mut list in [first, second] {
            list.sort_unstable();
            assert_eq!(list, sorted);
        }
    }
}

use std::{future::Future, time::Duration};

use certward_store::Store;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const MIN: Duration = Duration::from_millis(200);
const MAX: Duration = Duration::from_secs(10);

/// The pause after `tries` failures: 0.2 s, doubling up to 10 s.
pub(crate) fn after(tries: u32) -> Duration {
    MIN.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(MAX)
}

/// Pauses, or returns earlier once `may_work` resolves.
pub(crate) async fn wait(tries: u32, may_work: impl Future<Output = ()>) {
    wait_at_most(MAX, tries, may_work).await;
}

/// As [`wait`], for at most `max`.
pub(crate) async fn wait_at_most(max: Duration, tries: u32, may_work: impl Future<Output = ()>) {
    tokio::select! {
        () = sleep(after(tries).min(max)) => {}
        () = may_work => {}
    }
}

/// Whether to log: the first failure, then one every ten minutes.
pub(crate) fn should_log(tries: u32) -> bool {
    tries == 1 || tries.is_multiple_of(60)
}

/// Retries at once when the store answers again. `None`: shut down.
pub(crate) async fn until_done<T, E, F>(
    store: &Store,
    shutdown: &CancellationToken,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Option<T>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut tries = 0;
    loop {
        let answers_again = store.answers_again();
        let tried = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            tried = attempt() => tried,
        };
        match tried {
            Ok(done) => return Some(done),
            Err(error) => {
                tries += 1;
                if should_log(tries) {
                    tracing::warn!(tries, "{what}: {error}; trying again");
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = wait(tries, answers_again) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_ten_seconds() {
        let waits: Vec<u128> = [1, 2, 3, 6, 7, 1000].map(|tries| after(tries).as_millis()).into();
        assert_eq!(waits, [200, 400, 800, 6400, 10_000, 10_000]);
    }
}

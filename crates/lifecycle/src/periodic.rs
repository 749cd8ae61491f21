use std::{fmt, time::Duration};

use certward_store::Store;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// When a periodic task runs; a pause begins when the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// First at once.
    AtOnce(Duration),
    /// First after a pause.
    Later(Duration),
}

/// Repeats `work` until `shutdown`, which drops a run in progress. The first failure of a series is
/// logged as `what`; after a failure the pause also ends when the store answers again.
pub async fn periodically<E, F>(
    what: &str,
    pace: Pace,
    store: &Store,
    shutdown: CancellationToken,
    mut work: impl FnMut() -> F,
) where
    E: fmt::Display,
    F: Future<Output = Result<(), E>>,
{
    let repeat = async {
        let (first, pause) = match pace {
            Pace::AtOnce(pause) => (Duration::ZERO, pause),
            Pace::Later(pause) => (pause, pause),
        };
        sleep(first).await;
        let mut is_failing = false;
        loop {
            // Before the work, which may fail as the store comes back.
            let answers_again = store.answers_again();
            let worked = work().await;
            let was_failing = std::mem::replace(&mut is_failing, worked.is_err());
            match worked {
                Ok(()) => sleep(pause).await,
                Err(error) => {
                    if !was_failing {
                        tracing::warn!("{what}: {error}; trying again");
                    }
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = answers_again => {}
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = repeat => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use certward_store::{Address, MasterKey, SystemClock};
    use tokio::time::Instant;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(7);

    /// The seconds at which the work was done, of which each takes one.
    async fn times<E: fmt::Display>(pace: Pace, result: impl Fn(usize) -> Result<(), E>) -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Embedded(folder.path().to_owned());
        let store = Store::init(&address, &MasterKey::generate(), Arc::new(SystemClock)).await.unwrap();
        tokio::time::pause();
        let (start, shutdown, mut times) = (Instant::now(), CancellationToken::new(), Vec::new());
        let work = || {
            times.push(start.elapsed().as_secs());
            let result = result(times.len());
            if times.len() == 3 {
                shutdown.cancel();
            }
            async {
                sleep(Duration::from_secs(1)).await;
                result
            }
        };
        periodically("it fails", pace, &store, shutdown.clone(), work).await;
        times
    }

    #[tokio::test]
    async fn the_first_run_is_at_once() {
        assert_eq!(times(Pace::AtOnce(PAUSE), |_| Ok::<_, Infallible>(())).await, [0, 8, 16]);
    }

    #[tokio::test]
    async fn the_first_run_is_after_a_pause_and_a_failure_is_followed_by_the_next() {
        let fails = |time| if time == 1 { Err("away") } else { Ok(()) };
        assert_eq!(times(Pace::Later(PAUSE), fails).await, [7, 15, 23]);
    }
}

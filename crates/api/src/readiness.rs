use std::time::Duration;

use certward_store::Store;
use tokio::{sync::Mutex, time::Instant};

/// Anybody may ask `/readyz` as often as they like; the store, where a ping is a write, is asked once in this time.
const KEPT: Duration = Duration::from_secs(1);

/// Whether the store answers, as of the last [`KEPT`].
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    pub(crate) async fn store_answers(&self, store: &Store) -> bool {
        // Held across the ping, so that many who ask at once make one ping.
        let mut last = self.last.lock().await;
        if let Some((at, answers)) = *last
            && at.elapsed() < KEPT
        {
            return answers;
        }
        let answers = match store.ping().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "not ready: the store does not answer");
                false
            }
        };
        *last = Some((Instant::now(), answers));
        answers
    }
}

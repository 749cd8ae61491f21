use std::time::Duration;

use certward_store::Store;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// Anybody may ask `/readyz` as often as they like; the store, where a ping is a write, is asked once in this time.
const KEPT: Duration = Duration::from_secs(1);

/// Whoever asks whether this node is ready does not wait for a store that says nothing.
const WITHIN: Duration = Duration::from_secs(1);

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
        let answers = match timeout(WITHIN, store.ping()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store does not answer");
                false
            }
            Err(_) => false,
        };
        *last = Some((Instant::now(), answers));
        answers
    }
}

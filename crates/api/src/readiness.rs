use std::time::Duration;

use certward_store::Store;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// `/readyz` needs no key and a ping may write, so the store is asked once in this time.
const PING_MAX_AGE: Duration = Duration::from_secs(1);

/// For a silent store.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Readiness {
    last: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    pub(crate) async fn store_answers(&self, store: &Store) -> bool {
        // Held across the ping: concurrent requests share it.
        let mut last = self.last.lock().await;
        if let Some((at, answers)) = *last
            && at.elapsed() < PING_MAX_AGE
        {
            return answers;
        }
        let answers = match timeout(PING_TIMEOUT, store.ping()).await {
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

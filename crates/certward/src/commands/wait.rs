//! Waiting until a change is proven or a deletion is over, without burning the reads of the window.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    answer::Tls,
    client::{Client, ClientError},
};

/// The server holds a read so long; 60 reads in 60 minutes are then never used up by waiting.
const HOLD: Duration = Duration::from_secs(60);

/// Between two reads, should the server not hold them.
const PAUSE: Duration = Duration::from_secs(5);

/// Then nobody waits any more: the default time to prove a change is one minute.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What a wait came to.
pub(super) enum Waited {
    /// Proven, failed, or gone.
    Settled(Value),
    /// Not within [`PATIENCE`].
    Unsettled,
}

/// Reads the certificate's state until it settles. A server that is away or busy for a while is waited for.
///
/// # Errors
/// [`ClientError`] where a later read would say the same.
pub(super) async fn until_settled(client: &Client, path: &[&str]) -> Result<Waited, ClientError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = Instant::now();
        let left = deadline.saturating_duration_since(asked);
        let pause = match client.get_settled(path, HOLD.min(left)).await {
            Ok(answer) => {
                let state: Tls = serde_json::from_value(answer.clone()).unwrap_or_default();
                if state.is_settled() {
                    return Ok(Waited::Settled(answer));
                }
                PAUSE.saturating_sub(asked.elapsed())
            }
            Err(error) => match error.retry_after() {
                Some(pause) if Instant::now() + pause < deadline => pause,
                _ => return Err(error),
            },
        };
        if Instant::now() + pause >= deadline {
            return Ok(Waited::Unsettled);
        }
        sleep(pause).await;
    }
}

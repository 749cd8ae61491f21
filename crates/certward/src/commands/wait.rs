//! Waits for a proof or a deletion without using up the read limit.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    api_types::TlsAnswer,
    client::{Client, ClientError},
};

/// The server holds a read this long, so 60 reads in 60 minutes suffice.
const READ_HOLD: Duration = Duration::from_secs(60);

/// Between reads, if the server does not hold them.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// The default time to prove a change is one minute.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

pub(super) enum Waited {
    /// Proven, failed, or gone.
    Settled(Value),
    /// Not within [`WAIT_TIMEOUT`].
    Unsettled,
}

/// Waits for an absent or busy server too.
///
/// # Errors
/// [`ClientError`] if a later read would fail too.
pub(super) async fn until_settled(client: &Client, path: &[&str]) -> Result<Waited, ClientError> {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        let asked = Instant::now();
        let left = deadline.saturating_duration_since(asked);
        let pause = match client.get_settled(path, READ_HOLD.min(left)).await {
            Ok(answer) => {
                let state: TlsAnswer = serde_json::from_value(answer.clone()).unwrap_or_default();
                if state.is_settled() {
                    return Ok(Waited::Settled(answer));
                }
                READ_INTERVAL.saturating_sub(asked.elapsed())
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

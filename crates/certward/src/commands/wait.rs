//! Waits for a proof or a deletion without using up the read limit.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    api_types::TlsAnswer,
    client::{Client, ClientError},
    output,
};

/// How long the server holds each read, the last one from then on: 14 reads in ten minutes, of the
/// 60 in 60 minutes. Short at first, to say soon which nodes are waited for.
const READ_HOLDS: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];

/// Between reads, at most, if the server does not hold them.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// The default time to prove a change is one minute.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

pub(super) enum Waited {
    /// Proven, failed, or gone.
    Settled(Value),
    /// Not in time.
    Unsettled,
}

/// Waits for an absent or busy server too; `closing` longer, for sessions that end at a rate.
///
/// # Errors
/// [`ClientError`] if a later read would fail too.
pub(super) async fn until_settled(
    client: &Client,
    path: &[&str],
    closing: Duration,
    report: &mut WaitReport,
) -> Result<Waited, ClientError> {
    let deadline = Instant::now() + WAIT_TIMEOUT + closing;
    let mut holds = READ_HOLDS.into_iter().chain(std::iter::repeat(READ_HOLDS[READ_HOLDS.len() - 1]));
    loop {
        let hold = holds.next().unwrap_or_default();
        let asked = Instant::now();
        let left = deadline.saturating_duration_since(asked);
        let pause = match client.get_settled(path, hold.min(left)).await {
            Ok(answer) => {
                let state: TlsAnswer = serde_json::from_value(answer.clone()).unwrap_or_default();
                if state.is_settled() {
                    return Ok(Waited::Settled(answer));
                }
                report.update(&state);
                READ_INTERVAL.min(hold).saturating_sub(asked.elapsed())
            }
            Err(error) => match error.retry_after() {
                Some(pause) if pause < deadline.saturating_duration_since(Instant::now()) => pause,
                _ => return Err(error),
            },
        };
        if Instant::now() + pause >= deadline {
            return Ok(Waited::Unsettled);
        }
        sleep(pause).await;
    }
}

/// Says on stderr which nodes are waited for and which are not, as it changes.
#[derive(Default)]
pub(super) struct WaitReport {
    said: Option<String>,
}

impl WaitReport {
    /// After the change: most are proven at once, so that only lost nodes are worth a line.
    pub(super) fn begin(&mut self, state: &TlsAnswer) {
        self.say(words(&[], &state.left_out));
    }

    fn update(&mut self, state: &TlsAnswer) {
        self.say(words(&state.waiting_for, &state.left_out));
    }

    fn say(&mut self, words: Option<String>) {
        if words.is_some() && words != self.said {
            output::note(&format!("certward: {}", words.as_deref().unwrap_or_default()));
            self.said = words;
        }
    }
}

fn words(waiting_for: &[String], left_out: &[String]) -> Option<String> {
    let list = |nodes: &[String]| output::plain(&nodes.join(", "));
    let parts = [
        (!waiting_for.is_empty()).then(|| format!("waiting for the nodes {}", list(waiting_for))),
        (!left_out.is_empty()).then(|| format!("left out, because lost: {}", list(left_out))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_by_what_they_are() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for (waiting_for, left_out, said) in [
            (&[] as &[&str], &[] as &[&str], None),
            (&["n1"], &[], Some("waiting for the nodes n1")),
            (&[], &["n3"], Some("left out, because lost: n3")),
            (
                &["n1", "n2\n"],
                &["n3"],
                Some("waiting for the nodes n1, n2\\u{a}; left out, because lost: n3"),
            ),
        ] {
            assert_eq!(words(&ids(waiting_for), &ids(left_out)).as_deref(), said);
        }
    }

    #[test]
    fn the_reads_of_ten_minutes_stay_within_their_limit() {
        let first: Duration = READ_HOLDS[..5].iter().sum();
        let reads = 5 + (WAIT_TIMEOUT - first).as_secs().div_ceil(READ_HOLDS[5].as_secs());
        assert_eq!(reads, 14);
    }
}

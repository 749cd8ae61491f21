//! What `--rate` does is said before it is done: how many sessions, and how long.

use std::time::Duration;

use certward_store::DeploymentId;

use crate::{api_types::SessionsAnswer, cli::CloseRateArg, client::Client, output};

/// The sessions that a change ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClosedCount {
    Exactly(u64),
    /// Those of the deployment: which of them is not known.
    UpTo(u64),
    Unknown,
}

impl ClosedCount {
    /// All that the deployment has, if they can be counted. Asked only with a rate.
    pub(super) async fn up_to_now(rate: Option<CloseRateArg>, client: &Client, id: &DeploymentId) -> Self {
        sessions_now(rate, client, id).await.map_or(Self::Unknown, Self::UpTo)
    }
}

/// Says it on stderr. Nothing is said without a rate.
pub(super) fn announce(rate: Option<CloseRateArg>, sessions: ClosedCount) {
    if let Some(rate) = rate {
        output::note(&announcement(rate, sessions));
    }
}

/// How many sessions the deployment has, on all nodes that answer. Asked only with a rate.
pub(super) async fn sessions_now(
    rate: Option<CloseRateArg>,
    client: &Client,
    id: &DeploymentId,
) -> Option<u64> {
    rate?;
    let answer = client.get_where(&["deployments", id.as_str(), "sessions"], "limit=1").await;
    // Such as no node with a gateway: the change decides without the number.
    let sessions: SessionsAnswer = serde_json::from_value(answer.ok()?).ok()?;
    Some(sessions.total)
}

fn announcement(rate: CloseRateArg, sessions: ClosedCount) -> String {
    let will_be = |up_to: &str, count: u64| {
        let s = if count == 1 { "" } else { "s" };
        let time = in_words(rate.time_for(count));
        format!("{up_to}{} session{s} will be closed at {rate}: {time}", grouped(count))
    };
    match sessions {
        ClosedCount::Exactly(0) | ClosedCount::UpTo(0) => "No session will be closed".to_owned(),
        ClosedCount::Exactly(count) => will_be("", count),
        ClosedCount::UpTo(count) => will_be("Up to ", count),
        ClosedCount::Unknown => format!("Sessions will be closed at {rate}; how many is not known"),
    }
}

/// Such as `1,234`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Such as `25 s` or `2 h 5 min`.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let mut left = seconds;
    let parts = units[first..].iter().take(2).filter_map(|(unit, name)| {
        let count = left / unit;
        left %= unit;
        (count > 0).then(|| format!("{count} {name}"))
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_time_are_said() {
        let at = |rate: &str, sessions| announcement(CloseRateArg::parse(rate).unwrap(), sessions);
        for (rate, sessions, expected) in [
            ("50/s", ClosedCount::Exactly(1_234), "1,234 sessions will be closed at 50/s: 25 s"),
            ("50/s", ClosedCount::Exactly(1), "1 session will be closed at 50/s: 1 s"),
            ("50/s", ClosedCount::Exactly(0), "No session will be closed"),
            ("1/s", ClosedCount::UpTo(60), "Up to 60 sessions will be closed at 1/s: 1 min"),
            ("1/s", ClosedCount::UpTo(7_500), "Up to 7,500 sessions will be closed at 1/s: 2 h 5 min"),
            ("2/s", ClosedCount::UpTo(1_000_000), "Up to 1,000,000 sessions will be closed at 2/s: 5 d 18 h"),
            ("2/s", ClosedCount::Unknown, "Sessions will be closed at 2/s; how many is not known"),
        ] {
            assert_eq!(at(rate, sessions), expected);
        }
    }
}

use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use crate::{
    api_time,
    api_types::{AlertAnswer, DeliveryAnswer},
    cli::ConnectArgs,
    client::Client,
    output,
    style::{Style, Tone},
    table::TextTable,
};

/// Owners that are shown.
const OWNERS_MAX: usize = 3;

pub(super) async fn run(connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let found = Client::new(connect)?.page(&["alerts"], "limit=100").await?;
    if connect.json {
        output::say_json(&found)?;
    } else if found.is_empty() {
        output::say("No alerts yet. `certward expiring` shows what ends.")?;
    } else {
        let alerts: Vec<AlertAnswer> = serde_json::from_value(found.into())?;
        output::say(&table(&alerts, SystemClock.now()).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(alerts: &[AlertAnswer], now: Timestamp) -> TextTable {
    let mut table = TextTable::new(["WHEN (UTC)", "RULE", "KIND", "NAME", "OF", "ENDS", "DELIVERED"]);
    for alert in alerts {
        let (delivered, tone) = delivered(&alert.deliveries);
        table.toned_row([
            (&alert.at, None),
            (alert.rule.as_deref().unwrap_or("-"), None),
            (&alert.kind, None),
            (&alert.subject, None),
            (&owners(alert), None),
            (&ends(alert, now), None),
            (&delivered, tone),
        ]);
    }
    table
}

/// Such as `in 41 days`.
fn ends(alert: &AlertAnswer, now: Timestamp) -> String {
    let ends = alert.expire.as_deref().map(|expire| api_time::ends_in_words(expire, now));
    ends.unwrap_or_else(|| "-".to_owned())
}

/// Such as `line1 line2 line3 +17`.
fn owners(alert: &AlertAnswer) -> String {
    if let Some(key) = &alert.api_key {
        return key.clone();
    }
    let shown = &alert.owners[..alert.owners.len().min(OWNERS_MAX)];
    match alert.owner_count.saturating_sub(shown.len()) {
        0 => shown.join(" "),
        others => format!("{} +{others}", shown.join(" ")),
    }
}

/// Such as `2/2`, `pending (timed_out, 3 attempts)` or `1/3, failed (status 503, 12 attempts)`.
fn delivered(deliveries: &[DeliveryAnswer]) -> (String, Option<Tone>) {
    if deliveries.is_empty() {
        return ("no channel".to_owned(), Some(Tone::Doubtful));
    }
    let of_state = |state: &str| deliveries.iter().find(|delivery| delivery.state == state);
    let others = deliveries.iter().find(|delivery| delivery.state != "delivered");
    // The worst first.
    let worst = of_state("failed").or(of_state("pending")).or(others);
    let count = deliveries.iter().filter(|delivery| delivery.state == "delivered").count();
    let counted = format!("{count}/{}", deliveries.len());
    let Some(worst) = worst else { return (counted, Some(Tone::Good)) };
    let tone = match worst.state.as_str() {
        "failed" => Some(Tone::Bad),
        "pending" if worst.failure.is_some() => Some(Tone::Doubtful),
        _ => None,
    };
    match deliveries.len() {
        1 => (state(worst), tone),
        _ => (format!("{counted}, {}", state(worst)), tone),
    }
}

fn state(delivery: &DeliveryAnswer) -> String {
    // Why it was not delivered before is of no use once it is cancelled.
    let failure = delivery.failure.as_ref().filter(|_| delivery.state != "cancelled");
    let Some(failure) = failure else { return delivery.state.clone() };
    let status = delivery.status.map(|status| format!(" {status}")).unwrap_or_default();
    let s = if delivery.attempts == 1 { "" } else { "s" };
    format!("{} ({failure}{status}, {} attempt{s})", delivery.state, delivery.attempts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn deliveries_are_counted_and_the_worst_is_named() {
        let ok = json!({"state": "delivered", "attempts": 1});
        let late = json!({"state": "pending", "attempts": 3, "failure": "timed_out"});
        let lost = json!({"state": "failed", "attempts": 12, "failure": "status", "status": 503});
        let new = json!({"state": "pending", "attempts": 0});
        let off = json!({"state": "cancelled", "attempts": 1, "failure": "connect"});
        for (deliveries, text) in [
            (json!([]), "no channel"),
            (json!([ok, ok]), "2/2"),
            (json!([ok]), "1/1"),
            (json!([new]), "pending"),
            (json!([late]), "pending (timed_out, 3 attempts)"),
            (json!([ok, late]), "1/2, pending (timed_out, 3 attempts)"),
            (json!([ok, late, lost]), "1/3, failed (status 503, 12 attempts)"),
            (json!([off]), "cancelled"),
        ] {
            let deliveries: Vec<DeliveryAnswer> = serde_json::from_value(deliveries).unwrap();
            assert_eq!(delivered(&deliveries).0, text);
        }
    }

    #[test]
    fn alerts_are_shown_with_what_they_are_about() {
        let alerts: Vec<AlertAnswer> = serde_json::from_value(json!([
            {"at": "2034-04-11 00:00:00", "rule": "end", "kind": "leaf", "subject": "CN=a",
             "expire": "2034-04-11 00:00:00", "owners": ["a", "b", "c", "d"], "ownerCount": 24,
             "deliveries": [{"state": "delivered", "attempts": 1}]},
            {"at": "2034-04-10 00:00:00", "rule": "1/10", "kind": "apiKey", "subject": "renewals",
             "apiKey": "k1", "expire": "2034-05-22 03:00:00", "owners": ["k1"], "ownerCount": 1, "deliveries": []},
            {"at": "2034-04-09 00:00:00", "kind": "stoppedChange", "subject": "CN=b", "owners": ["north"],
             "ownerCount": 1, "deliveries": [{"state": "delivered", "attempts": 1}]},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 03:00:00 UTC));
        assert_eq!(
            table(&alerts, now).text(),
            "WHEN (UTC)           RULE  KIND           NAME      OF         ENDS                 DELIVERED\n\
             2034-04-11 00:00:00  end   leaf           CN=a      a b c +21  expired 3 hours ago  1/1\n\
             2034-04-10 00:00:00  1/10  apiKey         renewals  k1         in 41 days           no channel\n\
             2034-04-09 00:00:00  -     stoppedChange  CN=b      north      -                    1/1"
        );
    }
}

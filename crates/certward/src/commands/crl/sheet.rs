use std::fmt::Write as _;

use crate::{api_types::CrlAnswer, output::plain};

/// A line for each thing that is known.
pub(super) fn text(crl: &CrlAnswer) -> String {
    let entries = crl.entries.map(|entries| entries.to_string());
    let stale = match (crl.is_stale, crl.stale.as_str()) {
        (true, "hard") => "hard, and it is stale: devices of its issuer are refused".to_owned(),
        (true, stale) => format!("{stale}, and it is stale: it still counts"),
        (false, stale) => stale.to_owned(),
    };
    let failure = crl
        .failure
        .as_ref()
        .map(|failure| format!("{} ({}), since {} UTC", failure.message, failure.code, failure.since));
    let utc = |time: &Option<String>| time.as_ref().map(|time| format!("{time} UTC"));
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let lines = [
        ("id", given(&crl.id)),
        ("issuer", given(&crl.issuer)),
        ("number", given(&crl.number)),
        ("entries", entries),
        ("this update", utc(&crl.this_update)),
        ("next update", utc(&crl.next_update)),
        ("stale", Some(stale)),
        ("fetched from", given(&crl.url)),
        ("fetched", utc(&crl.fetched_at)),
        ("next fetch", utc(&crl.next_fetch_at)),
        ("failure", failure),
        ("sha256", given(&crl.fingerprint)),
        ("set by key", given(&crl.put_by)),
        ("set", utc(&crl.put_at)),
    ];
    let mut sheet = String::new();
    for (name, value) in lines.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let separator = if sheet.is_empty() { "" } else { "\n" };
        let _ = write!(sheet, "{separator}{name:<13} {}", plain(&value));
    }
    sheet
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crl_is_shown_with_what_is_known() {
        let of = |crl| text(&serde_json::from_value(crl).unwrap());
        assert_eq!(
            of(
                json!({"id": "meters", "issuer": "CN=Meters\u{7}", "entries": 0, "nextUpdate": "2034-04-10 03:00:00",
                "stale": "hard", "isStale": true})
            ),
            "id            meters\n\
             issuer        CN=Meters\\u{7}\n\
             entries       0\n\
             next update   2034-04-10 03:00:00 UTC\n\
             stale         hard, and it is stale: devices of its issuer are refused"
        );
        let waiting = of(json!({"id": "valves", "stale": "soft", "url": "http://pki.example/valves.crl",
            "failure": {"code": "timed_out", "message": "No answer in time.", "since": "2034-04-11 02:00:00"}}));
        assert!(
            waiting.contains("\nfailure       No answer in time. (timed_out), since 2034-04-11 02:00:00 UTC"),
            "{waiting}"
        );
    }
}

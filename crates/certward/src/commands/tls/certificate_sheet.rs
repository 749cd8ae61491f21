//! A deployment's certificate, and where it stands.

use certward_store::{Clock, SystemClock, Timestamp};
use serde_json::Value;

use crate::{
    api_time, api_types::TlsAnswer, cli::ConnectArgs, findings, impact, output, style::Style,
    table::TextTable, wording::Typed,
};

pub(super) fn print(answer: &Value, typed: &Typed, connect: &ConnectArgs) -> anyhow::Result<()> {
    if connect.json {
        return output::say_json(answer);
    }
    let state: TlsAnswer = serde_json::from_value(answer.clone())?;
    output::say(&sheet(&state, SystemClock.now()))?;
    if !state.warnings.is_empty() {
        output::say(&findings::text(&state.warnings, typed))?;
    }
    if let Some(of_change) = &state.impact {
        output::say(&impact::text(of_change, Style::of_stdout()))?;
    }
    Ok(())
}

fn sheet(state: &TlsAnswer, now: Timestamp) -> String {
    let Some(status) = &state.status else { return "No certificate is set.".to_owned() };
    let mut table = TextTable::new(["status", status]);
    let expire = state.expire.as_deref().map(|expire| api_time::end_with_words(expire, now));
    let rows =
        [("reason", &state.reason), ("tlsType", &state.tls_type), ("expire", &expire), ("cn", &state.cn)];
    for (name, value) in rows {
        if let Some(value) = value {
            table.row([name, value]);
        }
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_is_left_stands_beside_the_end() {
        let now = Timestamp::from_time(datetime!(2034-04-11 02:43:20 UTC));
        for (expire, words) in [
            ("2034-05-22 02:43:21", "2034-05-22 02:43:21 (in 41 days)"),
            ("2034-04-10 23:43:20", "2034-04-10 23:43:20 (expired 3 hours ago)"),
        ] {
            let state = TlsAnswer {
                status: Some("running".to_owned()),
                tls_type: Some("one-way".to_owned()),
                expire: Some(expire.to_owned()),
                ..TlsAnswer::default()
            };
            assert_eq!(sheet(&state, now), format!("status   running\ntlsType  one-way\nexpire   {words}"));
        }
        assert_eq!(sheet(&TlsAnswer::default(), now), "No certificate is set.");
    }
}

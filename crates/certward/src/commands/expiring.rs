use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use super::end_urgency::EndUrgency;
use crate::{
    api_time, api_types::EndingAnswer, cli::ExpiringArgs, client::Client, output, style::Style,
    table::TextTable,
};

pub(super) async fn run(args: ExpiringArgs) -> anyhow::Result<ExitCode> {
    let ExpiringArgs { within, connect } = args;
    let query = format!("within={}&limit=1000", within.text());
    let found = Client::new(&connect)?.pages(&["expiring"], &query).await?;
    if connect.json {
        output::say_json(&found)?;
    } else if found.is_empty() {
        output::say(&format!("Nothing ends within {}.", within.text()))?;
    } else {
        let endings: Vec<EndingAnswer> = serde_json::from_value(found.into())?;
        output::say(&table(&endings, SystemClock.now()).styled(Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(endings: &[EndingAnswer], now: Timestamp) -> TextTable {
    let mut table = TextTable::new(["KIND", "ENDS", "DATE", "NAME", "OF", "BREAKS"]);
    for ending in endings {
        table.toned_row([
            (&ending.kind, None),
            (&api_time::ends_in_words(&ending.expire, now), EndUrgency::of(ending, now).tone()),
            (&ending.expire, None),
            (&ending.subject, None),
            (ending.owner(), None),
            (&ending.breaks, None),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_ends_is_shown_in_words_with_what_it_breaks() {
        let endings: Vec<EndingAnswer> = serde_json::from_value(json!([
            {"kind": "leaf", "subject": "CN=a", "deploymentID": "line1", "begin": "2034-01-11 00:00:00",
             "expire": "2034-04-10 21:00:00", "breaks": "Devices refuse to connect."},
            {"kind": "apiKey", "subject": "renewals", "apiKey": "k1", "begin": "2034-01-11 00:00:00",
             "expire": "2034-04-13 00:00:00", "breaks": "Requests are refused."},
            {"kind": "apiCertificate", "subject": "CN=b\u{1b}", "nodeID": "n1", "begin": "2034-04-10 00:00:00",
             "expire": "2034-04-30 00:00:00", "breaks": "Programs refuse."},
        ]))
        .unwrap();
        let table = table(&endings, Timestamp::from_time(datetime!(2034-04-11 00:00:00 UTC)));
        assert_eq!(
            table.text(),
            "KIND            ENDS                 DATE                 NAME        OF     BREAKS\n\
             leaf            expired 3 hours ago  2034-04-10 21:00:00  CN=a        line1  Devices refuse to connect.\n\
             apiKey          in 2 days            2034-04-13 00:00:00  renewals    k1     Requests are refused.\n\
             apiCertificate  in 19 days           2034-04-30 00:00:00  CN=b\\u{1b}  n1     Programs refuse."
        );
        let coloured = table.styled(Style::Coloured);
        for painted in
            ["\u{1b}[1;31mexpired 3 hours ago\u{1b}[0m", "\u{1b}[1;33min 2 days\u{1b}[0m", "  in 19 days"]
        {
            assert!(coloured.contains(painted), "{coloured:?}");
        }
    }
}

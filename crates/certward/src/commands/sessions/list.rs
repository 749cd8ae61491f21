use std::process::ExitCode;

use certward_store::{Clock, SystemClock, Timestamp};

use super::session_query::SessionQuery;
use crate::{
    api_time,
    api_types::{SessionAnswer, SessionsAnswer},
    cli::{ConnectArgs, SessionFilterArgs},
    client::Client,
    commands::{anonymous_nodes, deployment_id, silent_nodes},
    output,
    style::Style,
    table::TextTable,
};

pub(super) async fn run(
    id: &str,
    which: &SessionFilterArgs,
    limit: u32,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let SessionQuery { query, words } = SessionQuery::of(which)?;
    let query = if query.is_empty() { format!("limit={limit}") } else { format!("{query}&limit={limit}") };
    let answer = Client::new(connect)?.get_where(&["deployments", id.as_str(), "sessions"], &query).await?;
    let found: SessionsAnswer = serde_json::from_value(answer.clone())?;
    silent_nodes::note(&found.silent_nodes, "their sessions are missing here");
    anonymous_nodes::note(&found.anonymous_nodes, "sessions of the device through them are missing here");
    if connect.json {
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.sessions.is_empty() {
        // Of a device, nodes that identify none do not know.
        if found.anonymous_nodes.is_empty() {
            output::say(&format!("No sessions{words}."))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    output::say(&table(&found.sessions, SystemClock.now()).styled(Style::of_stdout()))?;
    let shown = found.sessions.len() as u64;
    if found.total > shown {
        output::note(&format!(
            "The newest {shown} of {}; --limit shows up to 1000, --device and --address select.",
            found.total
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(sessions: &[SessionAnswer], now: Timestamp) -> TextTable {
    let mut table =
        TextTable::new(["SINCE", "NODE", "ADDRESS", "PORT", "NAME", "HOST", "LISTENER", "TLS", "DEVICE"]);
    for session in sessions {
        let SessionAnswer { node, device, name, address, port, host, listener, tls_version, since } = session;
        table.row([
            &api_time::ago(since, now),
            node,
            address,
            &port.to_string(),
            name,
            host,
            listener,
            tls_version,
            device,
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
    fn sessions_are_shown_with_who_and_where() {
        let sessions: Vec<SessionAnswer> = serde_json::from_value(json!([
            {"node": "n1", "device": "01", "name": "meter-1", "address": "192.0.2.7", "port": 50123, "host": "a.example",
             "listener": "mqtts", "tlsVersion": "1.3", "since": "2034-04-11 02:00:00"},
            {"node": "n2", "address": "2001:db8::1", "port": 1, "listener": "wss", "tlsVersion": "1.2",
             "since": "2034-04-11 03:00:01"},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 03:00:00 UTC));
        assert_eq!(
            table(&sessions, now).text(),
            "SINCE       NODE  ADDRESS      PORT   NAME     HOST       LISTENER  TLS  DEVICE\n\
             1 hour ago  n1    192.0.2.7    50123  meter-1  a.example  mqtts     1.3  01\n\
             just now    n2    2001:db8::1  1      -        -          wss       1.2  -"
        );
    }
}

use std::process::ExitCode;

use certward_store::DeploymentId;
use reqwest::Method;

use super::session_query::SessionQuery;
use crate::{
    api_types::{ClosedSessionsAnswer, SessionsAnswer},
    cli::{ConnectArgs, SessionFilterArgs},
    client::Client,
    commands::{anonymous_nodes, deployment_id, question, silent_nodes},
    output,
};

pub(super) async fn run(
    id: &str,
    which: &SessionFilterArgs,
    yes: bool,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let which = SessionQuery::of(which)?;
    let client = Client::new(connect)?;
    if question::is_asked(yes) {
        question::ask(&change(&client, &id, &which).await, yes)?;
    }
    let path = ["deployments", id.as_str(), "sessions"];
    let answer = client.change_where(Method::DELETE, &path, &which.query).await?;
    let closed: ClosedSessionsAnswer = serde_json::from_value(answer.clone())?;
    silent_nodes::note(&closed.silent_nodes, "their sessions may go on");
    anonymous_nodes::note(
        &closed.anonymous_nodes,
        "the device's sessions through them go on; close those of its address with --address",
    );
    if connect.json {
        output::say_json(&answer)?;
    } else if closed.closed > 0 || closed.anonymous_nodes.is_empty() {
        output::say(&format!("Closed {}{}.", counted(closed.closed), which.words))?;
    }
    let is_complete = closed.silent_nodes.is_empty() && closed.anonymous_nodes.is_empty();
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// In numbers, unless the API does not say, as when the limit of reads is used up.
async fn change(client: &Client, id: &DeploymentId, which: &SessionQuery) -> String {
    let query = format!("{}&limit=1", which.query);
    let found = client.get_where(&["deployments", id.as_str(), "sessions"], &query).await.ok();
    let found = found.and_then(|found| serde_json::from_value::<SessionsAnswer>(found).ok());
    // Nodes that identify no device have not counted.
    let found = found.filter(|found| found.anonymous_nodes.is_empty());
    let sessions = found.map_or_else(|| "all sessions".to_owned(), |found| counted(found.total));
    format!("This closes {sessions}{} at {id}; devices may connect again", which.words)
}

fn counted(sessions: u64) -> String {
    let s = if sessions == 1 { "" } else { "s" };
    format!("{sessions} session{s}")
}

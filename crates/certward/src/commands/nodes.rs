use std::process::ExitCode;

use crate::{api_types::NodeAnswer, cli::ConnectArgs, client::Client, output, table::TextTable};

pub(super) async fn run(connect: ConnectArgs) -> anyhow::Result<ExitCode> {
    let answer = Client::new(&connect)?.get(&["nodes"]).await?;
    if connect.json {
        output::say_json(&answer)?;
    } else {
        output::say(&table(&serde_json::from_value::<Vec<NodeAnswer>>(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(nodes: &[NodeAnswer]) -> String {
    let mut table = TextTable::new(["ID", "ROLE", "VERSION", "STATUS", "STARTED", "LAST HEARD", "UNPROVEN"]);
    for node in nodes {
        let NodeAnswer { node_id, role, version, status, started_at, heard_at, unproven } = node;
        table.row([node_id, role, version, status, started_at, heard_at, &unproven.to_string()]);
    }
    table.text()
}

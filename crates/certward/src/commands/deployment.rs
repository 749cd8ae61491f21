use std::process::ExitCode;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{deployment_id, project_id};
use crate::{
    api_types::FindingAnswer,
    cli::{ConnectArgs, DeploymentCommand, DeploymentSettingArgs},
    client::Client,
    output::{self, plain},
    table::TextTable,
};

/// The list omits some fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentAnswer {
    #[serde(rename = "deploymentID")]
    id: String,
    #[serde(rename = "deploymentName")]
    name: String,
    #[serde(rename = "projectID")]
    project_id: Option<String>,
    project_name: Option<String>,
    status: String,
    create_at: String,
    upstream: Option<String>,
    ws_upstream: Option<String>,
    hosts: Vec<String>,
    profile: Option<String>,
    proxy_protocol: Option<String>,
    proxy_identity: Option<String>,
    connections: u64,
    connection_rate: u64,
    record_bytes: Option<u64>,
    warnings: Vec<FindingAnswer>,
}

pub(super) async fn run(command: DeploymentCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeploymentCommand::Add { id, upstream, ws_upstream, hosts, settings, project, connect } => {
            let id = id.as_deref().map(deployment_id).transpose()?;
            let project = project.as_deref().map(project_id).transpose()?;
            let mut body = given(&settings)?;
            body.insert("upstream".into(), upstream.into());
            body.insert("hosts".into(), hosts.into());
            body.extend(id.map(|id| ("deploymentID".into(), id.as_str().into())));
            body.extend(ws_upstream.map(|upstream| ("wsUpstream".into(), upstream.into())));
            body.extend(project.map(|project| ("projectID".into(), project.as_str().into())));
            let answer = Client::new(&connect)?
                .change(Method::POST, &["deployments"], Some(&Value::Object(body)))
                .await?;
            print(answer, &connect, "Added")?;
        }
        DeploymentCommand::Set {
            id,
            upstream,
            ws_upstream,
            no_ws_upstream,
            hosts,
            no_hosts,
            settings,
            connect,
        } => {
            let id = deployment_id(&id)?;
            let mut body = given(&settings)?;
            body.extend(upstream.map(|upstream| ("upstream".into(), upstream.into())));
            body.extend(ws_upstream.map(|upstream| ("wsUpstream".into(), upstream.into())));
            if no_ws_upstream {
                body.insert("wsUpstream".into(), Value::Null);
            }
            if no_hosts || !hosts.is_empty() {
                body.insert("hosts".into(), json!(hosts));
            }
            let path = ["deployments", id.as_str()];
            let answer =
                Client::new(&connect)?.change(Method::PATCH, &path, Some(&Value::Object(body))).await?;
            print(answer, &connect, "Changed")?;
        }
        DeploymentCommand::List { connect } => {
            let answer = Client::new(&connect)?.get(&["deployments"]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&table(&serde_json::from_value::<Vec<DeploymentAnswer>>(answer)?))?;
            }
        }
        DeploymentCommand::Show { id, connect } => {
            let id = deployment_id(&id)?;
            let answer = Client::new(&connect)?.get(&["deployments", id.as_str()]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&sheet(&serde_json::from_value(answer)?))?;
            }
        }
        DeploymentCommand::Remove { id, connect } => {
            let id = deployment_id(&id)?;
            Client::new(&connect)?.change(Method::DELETE, &["deployments", id.as_str()], None).await?;
            if !connect.json {
                output::say(&format!("Removed the deployment {id}."))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn given(settings: &DeploymentSettingArgs) -> anyhow::Result<Map<String, Value>> {
    let mut body: Map<_, _> = serde_json::from_value(serde_json::to_value(settings)?)?;
    body.retain(|_, value| !value.is_null());
    Ok(body)
}

fn print(answer: Value, connect: &ConnectArgs, done: &str) -> anyhow::Result<()> {
    if connect.json {
        return output::say_json(&answer);
    }
    let deployment: DeploymentAnswer = serde_json::from_value(answer)?;
    output::say(&format!("{done} the deployment {}.\n{}", plain(&deployment.id), sheet(&deployment)))
}

fn table(deployments: &[DeploymentAnswer]) -> String {
    let mut table = TextTable::new(["ID", "NAME", "PROJECT", "STATUS", "CREATED"]);
    for deployment in deployments {
        let project = deployment.project_name.as_deref().unwrap_or_default();
        table.row([&deployment.id, &deployment.name, project, &deployment.status, &deployment.create_at]);
    }
    table.text()
}

fn sheet(deployment: &DeploymentAnswer) -> String {
    let mut table = TextTable::new(["id", &deployment.id]);
    table.row(["name", &deployment.name]);
    let project = deployment.project_id.as_deref().or(deployment.project_name.as_deref());
    table.row(["project", project.unwrap_or_default()]);
    table.row(["status", &deployment.status]);
    table.row(["upstream", deployment.upstream.as_deref().unwrap_or_default()]);
    table.row(["ws-upstream", deployment.ws_upstream.as_deref().unwrap_or_default()]);
    table.row(["hosts", &deployment.hosts.join(" ")]);
    table.row(["profile", deployment.profile.as_deref().unwrap_or("default")]);
    let protocol = deployment.proxy_protocol.as_deref().unwrap_or("none");
    let identity = deployment.proxy_identity.as_deref().unwrap_or("cn");
    table.row([
        "proxy",
        &if protocol == "none" { protocol.to_owned() } else { format!("{protocol}, {identity}") },
    ]);
    table.row(["limits", &limits(deployment)]);
    if let Some(bytes) = deployment.record_bytes {
        table.row(["records", &format!("up to {bytes} bytes")]);
    }
    table.row(["created", &deployment.create_at]);
    for FindingAnswer { code, message, .. } in &deployment.warnings {
        table.row(["warning", &format!("{code}: {message}")]);
    }
    table.text()
}

fn limits(deployment: &DeploymentAnswer) -> String {
    let limits = [(deployment.connections, "at once"), (deployment.connection_rate, "new a second")];
    let limits: Vec<_> = limits
        .into_iter()
        .filter(|(number, _)| *number != 0)
        .map(|(number, of_what)| format!("{number} {of_what}"))
        .collect();
    if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
}

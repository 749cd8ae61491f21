use std::{process::ExitCode, time::Duration};

use certward_store::{Clock, SystemClock, Timestamp};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    broker_trouble, deployment_id, project_id,
    question::{self, Disconnected},
};
use crate::{
    api_time,
    api_types::{DeploymentAnswer, FindingAnswer},
    cli::{ConnectArgs, DeploymentCommand, DeploymentSettingArgs},
    client::Client,
    duration_text,
    output::{self, plain},
    table::TextTable,
    wording::{self, Typed},
};

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
                let deployments: Vec<DeploymentAnswer> = serde_json::from_value(answer)?;
                output::say(&table(&deployments, SystemClock.now()))?;
            }
        }
        DeploymentCommand::Show { id, connect } => {
            let id = deployment_id(&id)?;
            let answer = Client::new(&connect)?.get(&["deployments", id.as_str()]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&sheet(&serde_json::from_value(answer)?, SystemClock.now()))?;
            }
        }
        DeploymentCommand::Remove { id, yes, connect } => {
            let id = deployment_id(&id)?;
            let client = Client::new(&connect)?;
            let change = format!("removes the deployment {id} with its certificate, keys and hosts");
            question::ask_before(&change, Disconnected::All, &id, yes, &client).await?;
            client.change(Method::DELETE, &["deployments", id.as_str()], None).await?;
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
    let sheet = sheet(&deployment, SystemClock.now());
    output::say(&format!("{done} the deployment {}.\n{sheet}", plain(&deployment.id)))
}

fn table(deployments: &[DeploymentAnswer], now: Timestamp) -> String {
    let mut table = TextTable::new([
        "ID",
        "NAME",
        "PROJECT",
        "STATUS",
        "HOSTS",
        "CERTIFICATE",
        "ENDS",
        "CONNECTED",
        "CREATED",
    ]);
    for deployment in deployments {
        let tls = deployment.tls.as_ref();
        let expire = tls.and_then(|tls| tls.expire.as_deref());
        table.row([
            &deployment.id,
            &deployment.name,
            deployment.project_name.as_deref().unwrap_or_default(),
            &deployment.status,
            &first_and_count(&deployment.hosts),
            tls.and_then(|tls| tls.status.as_deref()).unwrap_or("none"),
            &expire.map(|expire| api_time::ends_in_words(expire, now)).unwrap_or_default(),
            &deployment.connected.to_string(),
            &deployment.create_at,
        ]);
    }
    table.text()
}

/// Such as `a.example +2`.
fn first_and_count(hosts: &[String]) -> String {
    match hosts {
        [] => String::new(),
        [host] => host.clone(),
        [host, others @ ..] => format!("{host} +{}", others.len()),
    }
}

fn sheet(deployment: &DeploymentAnswer, now: Timestamp) -> String {
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
    if deployment.max_session_age > 0 {
        let age = duration_text::show(Duration::from_secs(deployment.max_session_age));
        table.row(["session age", &format!("up to {age}")]);
    }
    table.row(["created", &deployment.create_at]);
    if let Some(tls) = &deployment.tls {
        table.row(["certificate", tls.status.as_deref().unwrap_or_default()]);
        if let Some(expire) = &tls.expire {
            table.row(["expire", &api_time::end_with_words(expire, now)]);
        }
    }
    table.row(["connected", &deployment.connected.to_string()]);
    if let Some(failure) = &deployment.last_failure {
        table.row(["last failure", &format!("{}, {}", failure.cause, api_time::ago(&failure.at, now))]);
    }
    for trouble in &deployment.broker_troubles {
        table.row(["broker", &broker_trouble::in_words(trouble, now)]);
        table.row(["remedy", &trouble.remedy]);
    }
    let typed = Typed::about(&deployment.id);
    for warning in &deployment.warnings {
        let FindingAnswer { code, message, .. } = warning;
        table.row([
            "warning",
            &format!("{code}: {} {}", wording::message(message, &typed), wording::remedy(warning, &typed)),
        ]);
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_list_shows_certificates_names_and_devices() {
        let deployments: Vec<DeploymentAnswer> = serde_json::from_value(json!([
            {"deploymentID": "line1", "projectName": "Factory", "status": "running", "createAt": "2034-01-01 00:00",
             "hosts": ["a.example", "b.example", "c.example"], "connected": 3,
             "tls": {"status": "running", "expire": "2034-05-22 02:43:21"}},
            {"deploymentID": "line2", "status": "running", "createAt": "2034-01-01 00:00", "hosts": []},
        ]))
        .unwrap();
        let now = Timestamp::from_time(datetime!(2034-04-11 02:43:20 UTC));
        assert_eq!(
            table(&deployments, now),
            "ID     NAME  PROJECT  STATUS   HOSTS         CERTIFICATE  ENDS        CONNECTED  CREATED\n\
             line1  -     Factory  running  a.example +2  running      in 41 days  3          2034-01-01 00:00\n\
             line2  -     -        running  -             none         -           0          2034-01-01 00:00"
        );
        let shown = sheet(&deployments[0], now);
        assert!(shown.contains("expire       2034-05-22 02:43:21 (in 41 days)\nconnected    3"), "{shown}");
    }
}

use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Map, Value};

use super::project_id;
use crate::{
    api_types::ProjectAnswer,
    cli::{ConnectArgs, ProjectCommand},
    client::Client,
    output,
    table::TextTable,
};

pub(super) async fn run(command: ProjectCommand) -> anyhow::Result<ExitCode> {
    match command {
        ProjectCommand::Add { id, name, connect } => {
            let id = project_id(&id)?;
            let mut body = Map::from_iter([("projectID".to_owned(), Value::from(id.as_str()))]);
            body.extend(name.map(|name| ("projectName".to_owned(), name.into())));
            let answer = Client::new(&connect)?
                .change(Method::POST, &["projects"], Some(&Value::Object(body)))
                .await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&format!("Added the project {id}."))?;
            }
        }
        ProjectCommand::Set {
            id,
            name,
            description,
            upstream_allow,
            no_upstream_allow,
            host_suffixes,
            no_host_suffixes,
            connect,
        } => {
            let id = project_id(&id)?;
            let mut body = Map::new();
            body.extend(name.map(|name| ("projectName".to_owned(), name.into())));
            body.extend(description.map(|text| ("description".to_owned(), text.into())));
            body.extend(list("upstreamAllow", upstream_allow, no_upstream_allow));
            body.extend(list("hostSuffixes", host_suffixes, no_host_suffixes));
            let path = ["projects", id.as_str()];
            let answer =
                Client::new(&connect)?.change(Method::PATCH, &path, Some(&Value::Object(body))).await?;
            print(answer, &connect, &format!("Changed the project {id}.\n"))?;
        }
        ProjectCommand::Show { id, connect } => {
            let id = project_id(&id)?;
            let answer = Client::new(&connect)?.get(&["projects", id.as_str()]).await?;
            print(answer, &connect, "")?;
        }
        ProjectCommand::List { connect } => {
            let answer = Client::new(&connect)?.get(&["projects"]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&table(&serde_json::from_value::<Vec<ProjectAnswer>>(answer)?))?;
            }
        }
        ProjectCommand::Remove { id, connect } => {
            let id = project_id(&id)?;
            Client::new(&connect)?.change(Method::DELETE, &["projects", id.as_str()], None).await?;
            if !connect.json {
                output::say(&format!("Removed the project {id}."))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `null` removes a list.
fn list(field: &str, items: Vec<String>, none: bool) -> Option<(String, Value)> {
    match (items.is_empty(), none) {
        (false, _) => Some((field.to_owned(), items.into())),
        (true, true) => Some((field.to_owned(), Value::Null)),
        (true, false) => None,
    }
}

fn print(answer: Value, connect: &ConnectArgs, done: &str) -> anyhow::Result<()> {
    if connect.json {
        return output::say_json(&answer);
    }
    output::say(&format!("{done}{}", sheet(&serde_json::from_value(answer)?)))
}

fn table(projects: &[ProjectAnswer]) -> String {
    let has_boundary = |it: &ProjectAnswer| it.upstream_allow.is_some() || !it.host_suffixes.is_empty();
    if !projects.iter().any(has_boundary) {
        let mut table = TextTable::new(["ID", "NAME", "DESCRIPTION"]);
        projects.iter().for_each(|it| table.row([&it.id, &it.name, &it.description]));
        return table.text();
    }
    let mut table = TextTable::new(["ID", "NAME", "DESCRIPTION", "UPSTREAM-ALLOW", "HOST-SUFFIXES"]);
    for it in projects {
        table.row([&it.id, &it.name, &it.description, &allow(it), &it.host_suffixes.join(" ")]);
    }
    table.text()
}

fn sheet(project: &ProjectAnswer) -> String {
    let mut table = TextTable::new(["id", &project.id]);
    table.row(["name", &project.name]);
    table.row(["description", &project.description]);
    table.row(["upstream-allow", &allow(project)]);
    table.row(["host-suffixes", &project.host_suffixes.join(" ")]);
    table.text()
}

fn allow(project: &ProjectAnswer) -> String {
    project.upstream_allow.as_deref().map_or_else(|| "any".to_owned(), |places| places.join(" "))
}

use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Map, Value};

use super::project_id;
use crate::{answer::Project, cli::ProjectCommand, client::Client, output, table::Table};

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
        ProjectCommand::List { connect } => {
            let answer = Client::new(&connect)?.get(&["projects"]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&table(&serde_json::from_value::<Vec<Project>>(answer)?))?;
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

fn table(projects: &[Project]) -> String {
    let mut table = Table::new(["ID", "NAME", "DESCRIPTION"]);
    for project in projects {
        table.row([&project.id, &project.name, &project.description]);
    }
    table.text()
}

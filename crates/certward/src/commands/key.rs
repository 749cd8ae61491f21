use std::process::ExitCode;

use certward_store::ApiKey;
use reqwest::Method;
use serde_json::{Map, Value};

use super::project_id;
use crate::{
    api_types::{CreatedKey, KeyAnswer},
    cli::KeyCommand,
    client::Client,
    output,
    table::TextTable,
    usage::UsageError,
};

pub(super) async fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Create { name, scopes, projects, connect } => {
            for project in &projects {
                project_id(project)?;
            }
            let mut body = Map::new();
            body.insert("name".into(), name.into());
            body.insert("scopes".into(), scopes.into());
            if !projects.is_empty() {
                body.insert("projects".into(), projects.into());
            }
            let answer =
                Client::new(&connect)?.change(Method::POST, &["keys"], Some(&Value::Object(body))).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                let key: CreatedKey = serde_json::from_value(answer)?;
                output::note("The secret key is shown this once: keep it like a password.");
                let mut table = TextTable::new(["api key", &key.api_key]);
                table.row(["secret key", &key.secret_key]);
                output::say(&table.text())?;
            }
        }
        KeyCommand::List { connect } => {
            let answer = Client::new(&connect)?.get(&["keys"]).await?;
            if connect.json {
                output::say_json(&answer)?;
            } else {
                output::say(&table(&serde_json::from_value::<Vec<KeyAnswer>>(answer)?))?;
            }
        }
        KeyCommand::Revoke { key, connect } => {
            let key = ApiKey::parse(&key).ok_or_else(|| {
                UsageError::new("an API key is 1 to 64 letters and digits; `certward key list` shows them")
            })?;
            Client::new(&connect)?.change(Method::DELETE, &["keys", key.as_str()], None).await?;
            if !connect.json {
                output::say(&format!("Revoked the API key {key}."))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(keys: &[KeyAnswer]) -> String {
    let mut table = TextTable::new(["API KEY", "NAME", "SCOPES", "PROJECTS", "CREATED"]);
    for key in keys {
        let projects = key.projects.as_ref().map_or_else(|| "all".to_owned(), |projects| projects.join(" "));
        table.row([&key.api_key, &key.name, &key.scopes.join(" "), &projects, &key.create_at]);
    }
    table.text()
}

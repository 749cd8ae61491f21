use std::{path::Path, process::ExitCode};

use reqwest::Method;
use serde_json::json;

use crate::{
    cli::ConnectArgs,
    client::Client,
    commands::{
        deployment_id,
        tls::{accepted, severe_impact},
    },
    input,
    wording::Typed,
};

pub(super) async fn run(
    id: &str,
    client_ca: &Path,
    (force, wait): (bool, bool),
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let text = input::read_text(client_ca)?;
    let mut typed = Typed::about_what_is_kept(id.as_str());
    typed.files.add("cacert", client_ca, &text);
    let client = Client::new(connect)?;
    let path = ["deployments", id.as_str(), "tls", "client-cas"];
    let body = json!({ "cacert": text.as_str() });
    let first = match force {
        true => client.change(Method::POST, &path, Some(&body)).await,
        false => client.change_strictly(Method::POST, &path, &body).await,
    };
    let answer = match first {
        Err(error) => match error.severe_impact() {
            // Such as a client CA that has expired since, and would be left out.
            Some(severe) => {
                severe_impact::decide(&id, severe)?;
                client.change(Method::POST, &path, Some(&body)).await
            }
            None => Err(error),
        },
        answer => answer,
    };
    let answer = answer.map_err(|error| error.with_files(&typed.files))?;
    accepted::finish(&client, &id, answer, wait, &typed, connect).await
}

use std::{path::Path, process::ExitCode};

use certward_pki::fingerprint;
use certward_store::DeploymentId;
use reqwest::Method;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;

use super::client_cas;
use crate::{
    api_types::ClientCaAnswer,
    cli::ConnectArgs,
    client::Client,
    commands::{
        deployment_id,
        tls::{accepted, severe_impact},
    },
    input,
    output::{self, plain},
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
    if let Some(known) = all_known(&client, &id, &text).await {
        output::note(&nothing_to_add(&known));
        // What asks for an answer or a proof gets it: the change changes nothing.
        if !connect.json && !wait {
            return Ok(ExitCode::SUCCESS);
        }
    }
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

/// The client CAs of `text`, if the deployment has all of them. What cannot be read or listed is
/// left to the server.
async fn all_known(client: &Client, id: &DeploymentId, text: &str) -> Option<Vec<ClientCaAnswer>> {
    let given: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().ok()?;
    if given.is_empty() {
        return None;
    }
    let page = client_cas::page(client, id).await.ok()?;
    let listed: Vec<ClientCaAnswer> = serde_json::from_value(page.items.into()).ok()?;
    let known = |der: &CertificateDer<'_>| {
        let digits = fingerprint(der);
        listed.iter().find(|ca| ca.fingerprint == digits).cloned()
    };
    given.iter().map(known).collect()
}

fn nothing_to_add(known: &[ClientCaAnswer]) -> String {
    let mut subjects: Vec<String> = known.iter().map(|ca| plain(&ca.subject)).collect();
    subjects.dedup();
    let are = if subjects.len() == 1 { "is" } else { "are" };
    format!("Nothing to add: {} {are} there already", subjects.join(", "))
}

use std::process::ExitCode;

use certward_pki::CRL_BYTES_MAX;
use certward_store::{CrlUrl, DeploymentId};
use reqwest::Method;
use serde_json::{Map, Value};

use super::{crl_id, sheet};
use crate::{
    api_types::SetCrlAnswer,
    cli::{CloseRateArg, CrlSetArgs},
    client::Client,
    commands::{
        deployment_id,
        paced_close::{self, ClosedCount},
        silent_nodes,
    },
    findings, input, output,
    usage::UsageError,
    wording::{Typed, UploadFiles},
};

/// The server tells DER and PEM apart.
const MEDIA_TYPE: &str = "application/pkix-crl";

pub(super) async fn run(args: &CrlSetArgs) -> anyhow::Result<ExitCode> {
    let (id, crl) = (deployment_id(&args.id)?, crl_id(&args.crl)?);
    let path = ["deployments", id.as_str(), "tls", "crls", crl.as_str()];
    let rate = CloseRateArg::query(args.rate);
    let mut files = UploadFiles::default();
    let answer = match (&args.file, &args.crl_url) {
        (Some(file), _) => {
            let bytes = input::read_up_to(file, CRL_BYTES_MAX as u64)?;
            files.add("crl", file, std::str::from_utf8(&bytes).unwrap_or_default());
            let stale = args.stale.as_ref().map(|stale| format!("stale={stale}"));
            let query =
                [rate].into_iter().filter(|it| !it.is_empty()).chain(stale).collect::<Vec<_>>().join("&");
            let client = Client::new(&args.connect)?;
            announce(args.rate, &client, &id).await;
            client.put_bytes(&path, &query, MEDIA_TYPE, &bytes).await
        }
        (None, url) => {
            let url = url.as_deref().unwrap_or_default();
            CrlUrl::parse(url).map_err(|rule| UsageError::new(format!("--from: {rule}")))?;
            files.add_flag("url", "--from");
            let mut body = Map::new();
            body.insert("url".to_owned(), url.into());
            body.extend(args.stale.as_ref().map(|stale| ("stale".to_owned(), stale.clone().into())));
            let client = Client::new(&args.connect)?;
            announce(args.rate, &client, &id).await;
            client.change_at(Method::PUT, &path, &rate, &Value::Object(body), false).await
        }
    };
    let answer = answer.map_err(|error| error.with_files(&files))?;
    let set: SetCrlAnswer = serde_json::from_value(answer.clone())?;
    silent_nodes::note(&set.silent_nodes, "what the CRL revokes may still be served there");
    if set.crl.entries.is_none() {
        output::note(&format!(
            "Not fetched yet; until then it refuses no device: certward crl show {id} {crl}"
        ));
    }
    if !set.warnings.is_empty() {
        let typed = Typed { files, ..Typed::about(id.as_str()) };
        output::note(&findings::text(&set.warnings, &typed));
    }
    if args.connect.json {
        output::say_json(&answer)?;
    } else {
        output::say(&sheet::text(&set.crl))?;
    }
    Ok(if set.silent_nodes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn announce(rate: Option<CloseRateArg>, client: &Client, id: &DeploymentId) {
    paced_close::announce(rate, ClosedCount::up_to_now(rate, client, id).await);
}

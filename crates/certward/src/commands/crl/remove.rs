use std::process::ExitCode;

use reqwest::Method;

use super::{crl_id, named};
use crate::{cli::ConnectArgs, client::Client, commands::deployment_id, output};

pub(super) async fn run(id: &str, crl: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let (id, crl) = (deployment_id(id)?, crl_id(crl)?);
    let path = ["deployments", id.as_str(), "tls", "crls", crl.as_str()];
    let removed = Client::new(connect)?.change(Method::DELETE, &path, None).await;
    removed.map_err(|error| named(error, &id, &crl))?;
    if !connect.json {
        output::say(&format!("Removed the CRL {crl} of {id}; what it alone revoked may connect again."))?;
    }
    Ok(ExitCode::SUCCESS)
}

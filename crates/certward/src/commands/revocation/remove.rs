use std::process::ExitCode;

use anyhow::{anyhow, bail};
use certward_store::{DeploymentId, RevocationId};
use reqwest::Method;

use super::list::PAGE;
use crate::{
    api_types::RevocationAnswer, cli::ConnectArgs, client::Client, commands::deployment_id, output,
    output::plain, usage::UsageError,
};

const DIGITS: usize = 32;

pub(super) async fn run(id: &str, revocation: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = deployment_id(id)?;
    let digits = prefix(revocation, &id)?;
    let client = Client::new(connect)?;
    let name = match digits.len() {
        DIGITS => digits,
        _ => {
            let found = client.pages(&["deployments", id.as_str(), "tls", "revocations"], PAGE).await?;
            one_of(serde_json::from_value(found.into())?, &digits, &id)?
        }
    };
    let path = ["deployments", id.as_str(), "tls", "revocations", &name];
    let removed = client.change(Method::DELETE, &path, None).await;
    removed.map_err(|error| match error.is_code("REVOCATION_NOT_FOUND") {
        true => anyhow!("{id} has no revocation {name}; `certward revocation list {id}` lists them"),
        false => error.into(),
    })?;
    if !connect.json {
        output::say(&format!("Removed the revocation {name}; what it alone refused may connect again."))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// In lower case.
fn prefix(typed: &str, id: &DeploymentId) -> Result<String, UsageError> {
    let digits = typed.to_ascii_lowercase();
    let is_prefix =
        (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_prefix {
        return Ok(digits);
    }
    Err(UsageError::new(format!(
        "{} is not a revocation's id, nor the beginning of one: 1 to {DIGITS} hexadecimal digits, the first column of \
         `certward revocation list {id}`",
        plain(typed)
    )))
}

/// The id of the one that begins with `digits`.
fn one_of(listed: Vec<RevocationAnswer>, digits: &str, id: &DeploymentId) -> anyhow::Result<String> {
    let mut found = listed.into_iter().map(|it| it.id).filter(|it| it.starts_with(digits));
    match (found.next(), found.next()) {
        // It becomes a part of a path.
        (Some(one), None) => match RevocationId::parse(&one) {
            Some(one) => Ok(one.to_string()),
            None => bail!("the server lists the revocation {}, which is no id", plain(&one)),
        },
        (None, _) => bail!(
            "{id} has no revocation that begins with {digits}; `certward revocation list {id}` lists them"
        ),
        (Some(_), Some(_)) => {
            bail!("several revocations of {id} begin with {digits}: give more of its digits")
        }
    }
}

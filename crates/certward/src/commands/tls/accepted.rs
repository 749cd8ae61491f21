//! After a change was accepted: wait for its proof, and show where it stands.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use certward_store::DeploymentId;
use serde_json::Value;

use super::certificate_sheet::print;
use crate::{
    api_types::TlsAnswer,
    cli::ConnectArgs,
    client::Client,
    commands::wait::{WaitReport, Waited, until_settled},
    wording::Typed,
};

/// `answer` is that of the change. With `wait` the exit code says whether it is `running`.
pub(in crate::commands) async fn finish(
    client: &Client,
    id: &DeploymentId,
    answer: Value,
    wait: bool,
    typed: &Typed,
    connect: &ConnectArgs,
) -> anyhow::Result<ExitCode> {
    let mut answer = answer;
    if wait {
        let impact = answer.get("impact").cloned();
        let mut report = WaitReport::default();
        report.begin(&serde_json::from_value(answer)?);
        let waited =
            until_settled(client, &["deployments", id.as_str(), "tls"], Duration::ZERO, &mut report).await;
        answer = match waited.context("the certificate is stored, but its proof cannot be waited for")? {
            Waited::Settled(answer) => answer,
            Waited::Unsettled => bail!(
                "the certificate of {id} is stored, but not proven on every node yet; `certward tls show {id}` shows how it goes on"
            ),
        };
        // Only the answer to the change has it.
        if let (Value::Object(answer), Some(impact)) = (&mut answer, impact) {
            answer.insert("impact".to_owned(), impact);
        }
    }
    print(&answer, typed, connect)?;
    let status = serde_json::from_value::<TlsAnswer>(answer)?.status;
    let held = !wait || status.as_deref() == Some("running");
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

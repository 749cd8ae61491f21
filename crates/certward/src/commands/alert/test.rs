use std::process::ExitCode;

use anyhow::bail;
use reqwest::Method;

use super::unknown_channel::named;
use crate::{
    api_types::AlertTestAnswer,
    cli::ConnectArgs,
    client::Client,
    commands::channel_id,
    output::{self, plain},
};

pub(super) async fn run(channel: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let id = channel_id(channel)?;
    let path = ["alert-channels", id.as_str(), "test"];
    let tested = Client::new(connect)?.change(Method::POST, &path, None).await;
    let answer = tested.map_err(|error| named(error, &id))?;
    let test: AlertTestAnswer = serde_json::from_value(answer.clone())?;
    if connect.json {
        output::say_json(&answer)?;
    } else if test.delivered {
        output::say(&plain(&test.message))?;
    } else {
        let remedy = remedy(test.failure.as_deref().unwrap_or_default(), test.status);
        bail!("{} {remedy} Then try again: certward alert test {id}", plain(&test.message));
    }
    Ok(if test.delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What to do, in one sentence.
fn remedy(failure: &str, status: Option<u16>) -> &'static str {
    match (failure, status) {
        ("not_allowed", _) => {
            "Set alert_allow in [alerts] of the configuration on all nodes with the API, and restart certward."
        }
        ("name_not_found", _) => "Look the name up on the machine of certward.",
        ("connect", _) => "Connect to it from the machine of certward, for example with curl.",
        ("tls" | "starttls_missing", _) => {
            "A CA of your own belongs into ca_file in [alerts] of the configuration; the port must fit --security."
        }
        ("timed_out", _) => "Look whether the receiver is busy, or a firewall drops packets.",
        ("unexpected_answer", _) => "Look at the port, and whether it wants TLS.",
        ("status", Some(401 | 403)) => {
            "The receiver refuses it: look at its log, at the URL, and whether it has the channel's secret."
        }
        ("status", Some(404 | 410)) => {
            "The receiver does not know the URL: add a channel with the right one, and remove this."
        }
        ("status", Some(500..)) => "Look at the log of the receiver.",
        ("status", _) => "Look at the log of the receiver, and whether it takes Standard Webhooks.",
        ("redirect", _) => "Add a channel with the URL that it leads to, and remove this.",
        ("smtp_status", _) => "Look at the log of the mail server, and at the addresses of --from and --to.",
        ("authentication_missing" | "authentication_refused" | "password_missing", _) => {
            "Add a channel with the right --username, --password-file and --security, and remove this."
        }
        _ => "Look at the log of certward and of the receiver.",
    }
}

#[cfg(test)]
mod tests {
    use certward_alerts::SendFailure;

    use super::*;

    #[test]
    fn each_failure_has_a_remedy() {
        let unknown = remedy("", None);
        for code in SendFailure::CODES.into_iter().filter(|code| *code != "invalid_message") {
            assert_ne!(remedy(code, None), unknown, "{code}");
        }
    }
}

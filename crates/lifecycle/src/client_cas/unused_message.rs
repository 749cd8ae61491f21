//! What is sent of a client CA that no device uses: a function of the recorded alert alone.

use std::fmt::Write as _;

use certward_store::{Alert, Timestamp};
use serde::Serialize;

use super::unused_detail::UnusedDetail;
use crate::expiry::alert_message::{AlertMessage, json, rfc3339};

const CONSEQUENCE: &str = "Nothing is removed by itself: devices may be out of season.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnusedData<'a> {
    #[serde(rename = "alertID")]
    alert_id: &'a str,
    deployment: &'a str,
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    subject: &'a str,
    fingerprint: &'a str,
    /// Of all certificates of the CA.
    fingerprints: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<String>,
    summary: &'a str,
    consequence: &'static str,
    remedy: &'a str,
}

pub(crate) fn message(alert: &Alert, detail: &str) -> AlertMessage {
    let (deployment, detail) = (deployment(alert), read(alert, detail));
    let (summary, remedy) = (summary(alert), remedy(deployment, &detail.fingerprints));
    let last_seen_at = (detail.last_seen_ms > 0).then(|| rfc3339(Timestamp(detail.last_seen_ms)));
    let data = UnusedData {
        alert_id: alert.id.as_str(),
        deployment,
        project_id: alert.project.as_ref().map(|project| project.as_str()),
        subject: &alert.subject,
        fingerprint: &alert.item,
        fingerprints: &detail.fingerprints,
        last_seen_at: last_seen_at.clone(),
        summary: &summary,
        consequence: CONSEQUENCE,
        remedy: &remedy,
    };
    AlertMessage {
        id: alert.id.to_string(),
        json: json("client-ca.unused", alert.at, data),
        subject: format!("[certward] A client CA of deployment {deployment} is not used any more"),
        text: text(alert, &detail, last_seen_at.as_deref(), &summary, &remedy),
    }
}

/// Such as `No device of deployment north was seen with a certificate of CN=Old for 30 days`.
pub(crate) fn summary(alert: &Alert) -> String {
    // A certificate may have no subject.
    let name = if alert.subject.is_empty() { &alert.item } else { &alert.subject };
    format!(
        "No device of deployment {} was seen with a certificate of the client CA {name} for 30 days: it may be removed",
        deployment(alert)
    )
}

fn deployment(alert: &Alert) -> &str {
    alert.owners.first().map_or("ID", String::as_str)
}

/// If it is damaged, the alert is sent without it.
fn read(alert: &Alert, detail: &str) -> UnusedDetail {
    serde_json::from_str(detail)
        .unwrap_or_else(|_| UnusedDetail { fingerprints: vec![alert.item.clone()], last_seen_ms: 0 })
}

fn remedy(id: &str, fingerprints: &[String]) -> String {
    let commands: Vec<String> =
        fingerprints.iter().map(|fingerprint| format!("certward trust remove {id} {fingerprint}")).collect();
    format!(
        "If no device of it will come back, remove it: {}. Known devices that need it: certward trust stragglers {id} {}",
        commands.join(" and "),
        fingerprints.first().map_or("FINGERPRINT", String::as_str)
    )
}

fn text(
    alert: &Alert,
    detail: &UnusedDetail,
    last_seen: Option<&str>,
    summary: &str,
    remedy: &str,
) -> String {
    let mut text = format!("{summary}.\n\n");
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<12} {value}");
    line("Client CA", &alert.subject);
    detail.fingerprints.iter().for_each(|fingerprint| line("SHA-256", fingerprint));
    if let Some(last_seen) = last_seen {
        line("Last seen", last_seen);
    }
    if let Some(project) = &alert.project {
        line("Project", project.as_str());
    }
    line("Deployment", deployment(alert));
    let _ = write!(text, "\n{CONSEQUENCE}\nWhat to do: {remedy}\n");
    let _ = writeln!(text, "\nAlert {}", alert.id);
    text
}

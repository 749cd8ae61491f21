//! What is sent of a change that was stopped: a function of the recorded alert alone.

use std::fmt::Write as _;

use certward_store::Alert;
use serde::Serialize;

use super::stopped_impact::{RefusedCount, StoppedImpact};
use crate::expiry::alert_message::{AlertMessage, json};

const CONSEQUENCE: &str = "Nothing was changed: devices are served as before.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoppedData<'a> {
    #[serde(rename = "alertID")]
    alert_id: &'a str,
    deployment: &'a str,
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    subject: &'a str,
    fingerprint: &'a str,
    #[serde(flatten)]
    impact: Option<&'a StoppedImpact>,
    summary: &'a str,
    consequence: &'static str,
    remedy: &'a str,
}

pub(crate) fn message(alert: &Alert, detail: &str) -> AlertMessage {
    let (deployment, impact) = (deployment(alert), read(detail));
    let (summary, remedy) = (summary(alert, detail), remedy(deployment));
    let data = StoppedData {
        alert_id: alert.id.as_str(),
        deployment,
        project_id: alert.project.as_ref().map(|project| project.as_str()),
        subject: &alert.subject,
        fingerprint: &alert.item,
        impact: impact.as_ref(),
        summary: &summary,
        consequence: CONSEQUENCE,
        remedy: &remedy,
    };
    AlertMessage {
        id: alert.id.to_string(),
        json: json("change.stopped", alert.at, data),
        subject: format!("[certward] A change of deployment {deployment} was stopped for its impact"),
        text: text(alert, impact.as_ref(), &summary, &remedy),
    }
}

/// Such as `A change of deployment north was stopped: 2 of 50 connected devices would be refused`.
pub(crate) fn summary(alert: &Alert, detail: &str) -> String {
    let reasons = read(detail).map(|impact| impact.reasons.join("; "));
    let reasons = reasons.as_deref().unwrap_or("its impact on devices is severe");
    format!("A change of deployment {} was stopped: {reasons}", deployment(alert))
}

fn deployment(alert: &Alert) -> &str {
    alert.owners.first().map_or("ID", String::as_str)
}

/// If it is damaged, the alert is sent without its numbers.
fn read(detail: &str) -> Option<StoppedImpact> {
    serde_json::from_str(detail).ok()
}

fn remedy(id: &str) -> String {
    format!(
        "See what it would do: certward tls check {id} --cert server.pem --key server.key. Then upload another \
         certificate, or make the change all the same: certward tls set {id} --cert server.pem --key server.key --force \
         (two-way: also --client-ca)"
    )
}

fn text(alert: &Alert, impact: Option<&StoppedImpact>, summary: &str, remedy: &str) -> String {
    let mut text = format!("{summary}.\n\n");
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<12} {value}");
    line("Certificate", &alert.subject);
    line("SHA-256", &alert.item);
    if let Some(project) = &alert.project {
        line("Project", project.as_str());
    }
    line("Deployment", deployment(alert));
    let refused = |RefusedCount { refused, of }: RefusedCount| format!("{refused} of {of} would be refused");
    if let Some(impact) = impact {
        line("Connected", &refused(impact.connected));
        line("Known", &refused(impact.known));
    }
    let _ = write!(text, "\n{CONSEQUENCE}\nWhat to do: {remedy}\n");
    let _ = writeln!(text, "\nAlert {}", alert.id);
    text
}

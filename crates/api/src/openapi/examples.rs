//! Whole requests and answers, as they are sent.
//!
//! `tests/api/examples.rs` sends the requests and compares the answers; it also writes the files.

use serde_json::Value;
use utoipa::openapi::{RefOr, content::Content, path::Operation};

macro_rules! files {
    ($($name:literal)*) => {
        const FILES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("examples/", $name, ".json"))),)*];
    };
}

files! {
    "getTls.answer"
    "createTls.request" "createTls.answer" "createTls.refused"
    "replaceTls.request" "replaceTls.answer"
    "checkTls.request" "checkTls.answer"
    "listTlsFailures.answer"
    "listTlsVersions.answer"
    "rollbackTls.request" "rollbackTls.answer"
    "listClientCAs.answer" "addClientCAs.request" "addClientCAs.answer" "removeClientCA.answer"
    "listStragglers.answer"
    "addRevocations.request" "addRevocations.answer" "listRevocations.answer"
    "setCrl.request" "setCrl.answer" "getCrl.answer" "listCrls.answer"
    "listDevices.answer" "getDeviceSummary.answer" "listSessions.answer" "closeSessions.answer"
    "listDeployments.answer" "getDeployment.answer"
    "createDeployment.request" "createDeployment.answer"
    "changeDeployment.request" "changeDeployment.answer"
    "listProjects.answer" "getProject.answer"
    "createProject.request" "createProject.answer"
    "changeProject.request" "changeProject.answer"
    "listKeys.answer" "createKey.request" "createKey.answer"
    "listNodes.answer" "listExpiring.answer" "listAlerts.answer" "listAudit.answer"
    "listAlertChannels.answer" "testAlertChannel.answer"
    "createAlertChannel.request" "createAlertChannel.answer"
    "health.answer" "ready.answer"
}

/// Adds the examples of the operation.
pub(super) fn add(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        // Of JSON; a CRL is also sent as it is.
        let content = body.content.get_mut("application/json");
        content.into_iter().for_each(|content| set(content, request(&id)));
    }
    for status in ["200", "201"] {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
            response.content.values_mut().for_each(|content| set(content, answer(&id)));
        }
    }
}

pub(super) fn request(operation: &str) -> Option<&'static str> {
    file(operation, "request")
}

pub(super) fn answer(operation: &str) -> Option<&'static str> {
    file(operation, "answer")
}

/// The body of an upload that is refused with this code.
pub(super) fn refused_upload(code: &str) -> Option<Value> {
    let body: Value = serde_json::from_str(file("createTls", "refused")?).ok()?;
    (body.get("code")? == code).then_some(body)
}

fn file(operation: &str, part: &str) -> Option<&'static str> {
    let name = format!("{operation}.{part}");
    FILES.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}

fn set(content: &mut RefOr<Content>, example: Option<&str>) {
    if let (RefOr::T(content), Some(example)) = (content, example) {
        content.example = serde_json::from_str(example).ok();
    }
}

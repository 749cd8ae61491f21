//! How what one operation makes is used by others.

use utoipa::openapi::{RefOr, link::Link, path::Operation};

/// Maker, its status, where its exchange has the id, users, and their parameter.
const LINKS: [(&str, &str, &str, &[&str], &str); 5] = [
    (
        "createDeployment",
        "201",
        "$response.body#/deploymentID",
        &[
            "getDeployment",
            "changeDeployment",
            "deleteDeployment",
            "getTls",
            "createTls",
            "checkTls",
            "listTlsFailures",
            "listTlsVersions",
            "listClientCAs",
            "listRevocations",
            "listCrls",
            "addRevocations",
            "listDevices",
            "getDeviceSummary",
            "listSessions",
            "closeSessions",
        ],
        "id",
    ),
    (
        "createTls",
        "200",
        "$request.path.id",
        &[
            "getTls",
            "replaceTls",
            "deleteTls",
            "listTlsVersions",
            "rollbackTls",
            "listClientCAs",
            "addClientCAs",
        ],
        "id",
    ),
    (
        "createProject",
        "201",
        "$response.body#/projectID",
        &["getProject", "changeProject", "deleteProject"],
        "id",
    ),
    ("createKey", "201", "$response.body#/apiKey", &["deleteKey"], "key"),
    (
        "createAlertChannel",
        "201",
        "$response.body#/channelID",
        &["testAlertChannel", "deleteAlertChannel"],
        "id",
    ),
];

pub(super) fn add(operation: &mut Operation) {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    for (_, status, value, users, parameter) in LINKS.into_iter().filter(|(maker, ..)| *maker == id) {
        let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) else { continue };
        for user in users {
            let link = Link::builder().operation_id(*user).parameter(parameter, value).build();
            response.links.insert((*user).to_owned(), RefOr::T(link));
        }
    }
}

//! What the order of checks (`access.rs`) gives every operation under the base: scope, limit,
//! refusals.

use certward_store::Scope;
use utoipa::openapi::{extensions::ExtensionsBuilder, path::Operation, security::SecurityRequirement};

use super::{headers, refusals};
use crate::settings::Limits;

/// What an operation counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CountedAs {
    Read,
    Page,
    Change,
    Rollback,
    ClientCas,
    Revocation,
    Nothing,
}

pub(super) fn complete(path: &str, operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let (scope, counted) = access(&id);
    if let Some(scope) = scope {
        operation.security = Some(vec![SecurityRequirement::new("basic", [scope.as_str()])]);
    }
    refusals::add(operation, path, scope, counted != CountedAs::Nothing);
    if let Some(limit) = limit(counted) {
        let requests = serde_json::json!({"requests": limit.requests, "seconds": limit.window.as_secs()});
        let extension = ExtensionsBuilder::new().add("x-limit", requests).build();
        operation.extensions.get_or_insert_default().merge(extension);
        headers::limited(operation);
    }
}

/// The default, which the configuration can change.
fn limit(counted: CountedAs) -> Option<certward_store::RequestLimit> {
    let limits = Limits::default();
    match counted {
        CountedAs::Read => Some(limits.reads),
        CountedAs::Page => Some(limits.pages()),
        CountedAs::Change => Some(limits.changes),
        CountedAs::Rollback => Some(limits.rollbacks),
        CountedAs::ClientCas => Some(limits.client_cas),
        CountedAs::Revocation => Some(limits.revocations),
        CountedAs::Nothing => None,
    }
}

/// `None`: any scope.
fn access(operation: &str) -> (Option<Scope>, CountedAs) {
    match operation {
        "getTls" | "listTlsFailures" | "listTlsVersions" | "listClientCAs" | "listCrls" | "getCrl"
        | "getDeviceSummary" | "listSessions" => (Some(Scope::TlsRead), CountedAs::Read),
        "listDevices" | "listStragglers" | "listRevocations" => (Some(Scope::TlsRead), CountedAs::Page),
        "addRevocations" | "removeRevocation" | "setCrl" | "removeCrl" => {
            (Some(Scope::Tls), CountedAs::Revocation)
        }
        "forgetDevice" => (Some(Scope::Tls), CountedAs::Nothing),
        "checkTls" | "closeSessions" => (Some(Scope::Tls), CountedAs::Read),
        "createTls" | "replaceTls" | "deleteTls" => (Some(Scope::Tls), CountedAs::Change),
        "rollbackTls" => (Some(Scope::Tls), CountedAs::Rollback),
        "addClientCAs" | "removeClientCA" => (Some(Scope::Tls), CountedAs::ClientCas),
        "eraseTlsVersion" => (Some(Scope::Tls), CountedAs::Nothing),
        "listDeployments" | "getDeployment" | "listProjects" | "getProject" => (None, CountedAs::Read),
        "createDeployment" | "changeDeployment" | "deleteDeployment" => {
            (Some(Scope::Deployments), CountedAs::Nothing)
        }
        "listExpiring" => (None, CountedAs::Nothing),
        "testAlertChannel" => (Some(Scope::Admin), CountedAs::Read),
        _ => (Some(Scope::Admin), CountedAs::Nothing),
    }
}

//! The audit: who changed what, and what was refused.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{ApiKey, AuditPage, AuditRecord, DeploymentId, ListedAudit, Scope};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{
        AddressText, ApiKeyText, AuditResultWord, DeploymentIdText, FingerprintText, GivenTimeText, MacText,
        OrderWord, ProjectIdText, RequestIdText, UtcTimeText,
    },
    page::ListQuery,
    wire_time,
};

/// A change, or one that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditRow)]
pub(crate) struct AuditBody {
    /// In the chain, from 1 without gaps; absent without `mac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 1042, minimum = 1)]
    number: Option<i64>,
    /// In the list; grows, with gaps.
    #[schema(minimum = 1)]
    row: i64,
    /// UTC.
    #[schema(value_type = UtcTimeText)]
    at: String,
    /// The same in milliseconds since 1970.
    at_millis: i64,
    /// The API key, `certward` for what nodes and time cause, `unknown` for failed logins.
    #[schema(value_type = ApiKeyText)]
    actor: String,
    /// Such as `tls.replace`, `deployment.create`, `key.revoke`.
    #[schema(example = "tls.replace", pattern = "^[a-z][a-z.-]*$", max_length = 64)]
    action: String,
    /// The id of what was changed, or was to be.
    #[schema(example = "ge6a1a75", max_length = 200)]
    subject: String,
    /// `ok`, or the error code of the refusal.
    #[schema(example = "ok", pattern = "^(ok|[A-Z0-9_]+)$", max_length = 64)]
    result: String,
    /// Facts in one line.
    #[schema(max_length = 16384)]
    detail: String,
    /// Absent for the operator's.
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// What was to be changed may not exist.
    #[serde(rename = "deploymentID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<DeploymentIdText>)]
    deployment_id: Option<String>,
    /// The client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<AddressText>)]
    address: Option<String>,
    /// `X-Request-Id` of the answer.
    #[serde(rename = "requestID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<RequestIdText>)]
    request_id: Option<String>,
    /// SHA-256 of the leaf that was set before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FingerprintText>)]
    fingerprint_before: Option<String>,
    /// SHA-256 of the leaf that is set now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FingerprintText>)]
    fingerprint_after: Option<String>,
    /// The id of the master key that the key of `mac` is derived from, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{16}$")]
    master_key: Option<String>,
    /// `mac` of the row before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<MacText>)]
    prev: Option<String>,
    /// HMAC-SHA-256 of this row and `prev`, hexadecimal; absent for rows of a release before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<MacText>)]
    mac: Option<String>,
}

/// The audit, newest first; a key limited to projects sees theirs. The newest 100,000 rows are
/// kept. `certward audit verify` finds what was changed or removed. Needs scope `admin`.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "listAudit",
    params(("deployment" = Option<DeploymentIdText>, Query, description = "Only of this deployment."),
        ("actor" = Option<ApiKeyText>, Query, description = "Only of this API key, or `certward`, or `unknown`."),
        ("action" = Option<String>, Query, pattern = "^[a-z.-]+$", min_length = 1, max_length = 64, description = "Only this action; with a `.` at the end all that begin so, as `tls.`."),
        ("result" = Option<AuditResultWord>, Query, description = "Only what was done, or what was refused."),
        ("since" = Option<GivenTimeText>, Query, description = "From this time on: `2034-05-12 02:43:21`, UTC, or RFC 3339."),
        ("until" = Option<GivenTimeText>, Query, description = "Up to this time, inclusive."),
        ("order" = Option<OrderWord>, Query, description = "Which come first; `newest` when absent."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent."),
        ("after" = Option<String>, Query, pattern = "^-?[0-9]+[.]0$", max_length = 100, description = "From the `Link` header of the page before.")),
    responses((status = 200, description = "A bare array; `Link` with `rel=\"next\"` leads to more.", body = [AuditBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller, uri: Uri) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let query = ListQuery::read(&uri)?;
    let page = AuditPage { projects: caller.projects.clone(), ..page(&query)? };
    let rows = api.lifecycle.store().read().audit(&page).await?;
    let next = rows.last().filter(|_| rows.len() == page.limit as usize);
    let next = next.map(|last| query.next((last.record.row, 0))).unwrap_or_default();
    let bodies: Vec<AuditBody> = rows.into_iter().map(AuditBody::from).collect();
    Ok((next, Json(bodies)).into_response())
}

fn page(query: &ListQuery<'_>) -> Result<AuditPage, Error> {
    let deployment = |text: &str| DeploymentId::parse(text).ok().map(|id| id.to_string());
    let actor = |text: &str| ApiKey::parse(text).map(|key| key.to_string());
    let is_action = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'-'));
    let action =
        |text: &str| Some(text.to_owned()).filter(|text| (1..=64).contains(&text.len()) && is_action(text));
    let time = "is no time, such as 2034-05-12 02:43:21 or 2034-05-12T02:43:21Z.";
    let after = query.after(|row| row.parse().ok(), |none| (none == "0").then_some(()))?;
    Ok(AuditPage {
        projects: None,
        deployment: query.parameter("deployment", "deployment is no id.", deployment)?,
        actor: query.parameter("actor", "actor is no API key.", actor)?,
        action: query.parameter("action", "action is none, such as tls.replace or tls.", action)?,
        refused: query.parameter("result", "result is neither ok nor refused.", |text| match text {
            "ok" => Some(false),
            "refused" => Some(true),
            _ => None,
        })?,
        since: query.parameter("since", &format!("since {time}"), wire_time::parse)?,
        until: query.parameter("until", &format!("until {time}"), wire_time::parse)?,
        oldest_first: query
            .parameter("order", "order is neither newest nor oldest.", |text| match text {
                "newest" => Some(false),
                "oldest" => Some(true),
                _ => None,
            })?
            .unwrap_or_default(),
        beyond: after.map(|(row, ())| row),
        limit: query.limit()?,
    })
}

impl From<ListedAudit> for AuditBody {
    fn from(ListedAudit { record, before }: ListedAudit) -> Self {
        let AuditRecord { row, at, actor, action, subject, detail, project, deployment, .. } = record;
        let AuditRecord { address, request, refusal, certificate, link, .. } = record;
        let (number, master_key, mac) = match link {
            Some(link) => (Some(link.number), Some(hex(&link.master_key)), Some(hex(&link.mac))),
            None => (None, None, None),
        };
        Self {
            number,
            row,
            at: wire_time::to_the_second(at.to_time()),
            at_millis: at.0,
            actor,
            action,
            subject,
            result: refusal.unwrap_or_else(|| "ok".to_owned()),
            detail,
            project_id: project,
            deployment_id: deployment,
            address,
            request_id: request,
            fingerprint_before: certificate.before,
            fingerprint_after: certificate.after,
            master_key,
            prev: before.as_deref().map(hex),
            mac,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! All that ends.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{days_left, read_span};
use certward_store::{EndingKind, EndingPage, EndingScope, ListedEnding, Scope, Timestamp};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{
        ApiKeyText, CertificateNameText, DeploymentIdText, EndingKindWord, FingerprintText, NodeIdText,
        ProjectIdText, SentenceText, SpanText, UtcTimeText,
    },
    page::ListQuery,
    wire_time,
};

/// More are leading zeros.
const WITHIN_BYTES_MAX: usize = 8;
const WITHIN_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate, CRL or key that ends, or has ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ending)]
pub(crate) struct EndingBody {
    #[schema(value_type = EndingKindWord)]
    kind: &'static str,
    /// The certificate's subject, the CRL's issuer, or the API key's name.
    #[schema(value_type = CertificateNameText)]
    subject: String,
    /// SHA-256 of the certificate or CRL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FingerprintText>)]
    fingerprint: Option<String>,
    /// Absent for what belongs to no project or to several.
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// Of a deployment's certificates and CRLs.
    #[serde(rename = "deploymentID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<DeploymentIdText>)]
    deployment_id: Option<String>,
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ApiKeyText>)]
    api_key: Option<String>,
    /// Whose API has the certificate.
    #[serde(rename = "nodeID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<NodeIdText>)]
    node_id: Option<String>,
    /// notBefore, thisUpdate, or when the key was made, UTC.
    #[schema(value_type = UtcTimeText)]
    begin: String,
    /// notAfter, nextUpdate, or when the key ends, UTC.
    #[schema(value_type = UtcTimeText)]
    expire: String,
    /// Whole days until then, rounded down: 0 on the last day, negative afterwards.
    days_left: i64,
    /// What the end breaks.
    #[schema(value_type = SentenceText)]
    breaks: &'static str,
    /// What to do.
    #[schema(value_type = SentenceText)]
    remedy: String,
}

/// All that ends within a time, of what the key sees; earliest first, with what each breaks. Any
/// scope; other API keys are shown to scope `admin`.
///
/// A change is listed within a second.
#[utoipa::path(get, path = "/expiring", tag = "expiry", operation_id = "listExpiring",
    params(("within" = Option<SpanText>, Query, description = "How long from now, such as `30d` or `12h`; `30d` when absent. What has ended is always listed."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent."),
        ("after" = Option<String>, Query, pattern = "^-?[0-9]+[.]-?[0-9]+$", max_length = 100, description = "From the `Link` header of the page before.")),
    responses((status = 200, description = "A bare array; `Link` with `rel=\"next\"` leads to more.", body = [EndingBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller, uri: Uri) -> Result<Response, Error> {
    let query = ListQuery::read(&uri)?;
    let within =
        query.parameter("within", "within is no whole number of days or hours, such as 30d.", |text| {
            read_span(text).filter(|_| text.len() <= WITHIN_BYTES_MAX)
        })?;
    let limit = query.limit()?;
    let after = query.after(|at| at.parse().ok().map(Timestamp), |number| number.parse().ok())?;
    let store = api.lifecycle.store();
    let now = store.clock().now();
    let until = now.after(within.unwrap_or(WITHIN_DEFAULT));
    let scope = EndingScope::Key {
        projects: caller.projects.clone(),
        key: caller.key.clone(),
        other_keys: caller.may(Scope::Admin),
    };
    let found = store.read().endings(&scope, EndingPage { until, after, limit }).await?;
    let bodies: Vec<EndingBody> = found.iter().map(|ending| EndingBody::of(ending, now)).collect();
    let next = found.last().filter(|_| found.len() == limit as usize);
    let next = next.map(|last| query.next((last.ending.ends_at.0, last.number))).unwrap_or_default();
    Ok((next, Json(bodies)).into_response())
}

impl EndingBody {
    fn of(listed: &ListedEnding, now: Timestamp) -> Self {
        let (ending, deployment) = (&listed.ending, listed.deployment());
        let of = |kind| (ending.kind == kind).then(|| listed.owner.clone());
        let is_key = ending.kind == EndingKind::ApiKey;
        Self {
            kind: ending.kind.as_str(),
            subject: ending.subject.clone(),
            fingerprint: (!is_key).then(|| ending.item.clone()),
            project_id: listed.project.as_ref().map(ToString::to_string),
            deployment_id: deployment.as_ref().map(ToString::to_string),
            api_key: of(EndingKind::ApiKey),
            node_id: of(EndingKind::ApiCertificate),
            begin: wire_time::to_the_second(ending.begins_at.to_time()),
            expire: wire_time::to_the_second(ending.ends_at.to_time()),
            days_left: days_left(ending.ends_at, now),
            breaks: ending.kind.consequence(),
            remedy: ending.kind.remedy(deployment.as_ref()),
        }
    }
}

//! The alerts: what was sent, and what could not be.

use std::collections::{HashMap, HashSet};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::alert_summary;
use certward_store::{
    Alert, AlertId, AlertKind, AlertPage, ChannelId, Delivery, EndingKind, Scope, Timestamp,
};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{
        AlertIdText, AlertKindWord, ApiKeyText, CertificateNameText, ChannelIdText, DeliveryStateWord,
        FingerprintText, ProjectIdText, SentenceText, UtcTimeText,
    },
    page::ListQuery,
    wire_time,
};

/// A rule that applied, a change that was stopped or a client CA that is not used, and its way to
/// the channels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Alert)]
pub(crate) struct AlertBody {
    /// The same in every message: `webhook-id`.
    #[serde(rename = "alertID")]
    #[schema(value_type = AlertIdText)]
    alert_id: String,
    /// When the rule was found to apply, the change was stopped, or the client CA found not used,
    /// UTC.
    #[schema(value_type = UtcTimeText)]
    at: String,
    /// `1/5`, `1/10`, `1/30` of the lifetime left, days such as `7d`, or `end`. Absent where
    /// nothing ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "1/10", pattern = "^(1/[0-9]+|[0-9]+[dh]|end)$", max_length = 16)]
    rule: Option<String>,
    #[schema(value_type = AlertKindWord)]
    kind: &'static str,
    /// What it says, as of then.
    #[schema(value_type = SentenceText)]
    summary: String,
    /// The certificate's subject, the CRL's issuer, or the API key's name.
    #[schema(value_type = CertificateNameText)]
    subject: String,
    /// SHA-256 of the certificate; of a stopped change the new leaf's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<FingerprintText>)]
    fingerprint: Option<String>,
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ApiKeyText>)]
    api_key: Option<String>,
    /// notAfter, or when the key ends, UTC. Absent where nothing ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    expire: Option<String>,
    /// Absent for the operator's.
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// The first 20 deployments, or nodes, that have the certificate; the deployment whose change
    /// was stopped, or whose client CA is not used.
    #[schema(max_items = 20)]
    owners: Vec<String>,
    /// How many have it, counted up to 1000.
    #[schema(maximum = 1000)]
    owner_count: u64,
    /// When the last of them replaced it, accepted the stopped change, or a device used the client
    /// CA, UTC: what was not delivered by then is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    withdrawn_at: Option<String>,
    /// To the channels that the key sees.
    deliveries: Vec<DeliveryBody>,
}

/// An alert on its way to a channel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub(crate) struct DeliveryBody {
    #[serde(rename = "channelID")]
    #[schema(value_type = ChannelIdText)]
    channel_id: String,
    #[schema(value_type = DeliveryStateWord)]
    state: &'static str,
    attempts: u32,
    /// When the next attempt is due, UTC; of a pending one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    next_at: Option<String>,
    /// Why the last attempt failed, such as `timed_out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "status", pattern = "^[a-z][a-z_]*$", max_length = 64)]
    failure: Option<String>,
    /// The status that the receiver answered with, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 503, minimum = 100, maximum = 599)]
    status: Option<u16>,
}

/// The alerts, newest first; a key limited to projects sees theirs. Kept for 400 days. Needs scope
/// `admin`.
#[utoipa::path(get, path = "/alerts", tag = "expiry", operation_id = "listAlerts",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent."),
        ("after" = Option<String>, Query, pattern = "^-?[0-9]+[.][a-z0-9][a-z0-9-]{0,62}$", max_length = 100, description = "From the `Link` header of the page before.")),
    responses((status = 200, description = "A bare array; `Link` with `rel=\"next\"` leads to more.", body = [AlertBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller, uri: Uri) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let query = ListQuery::read(&uri)?;
    let limit = query.limit()?;
    let before = query.after(|at| at.parse().ok().map(Timestamp), |id| AlertId::parse(id).ok())?;
    let reader = api.lifecycle.store().read();
    let page = AlertPage { projects: caller.projects.clone(), before, limit };
    let alerts = reader.alerts(&page).await?;
    let seen: HashSet<ChannelId> =
        api.lifecycle.alert_channels(&caller).await?.into_iter().map(|channel| channel.id).collect();
    let ids: Vec<&AlertId> = alerts.iter().map(|alert| &alert.id).collect();
    let mut deliveries = HashMap::<AlertId, Vec<Delivery>>::new();
    for delivery in reader.deliveries(&ids).await? {
        if seen.contains(&delivery.channel) {
            deliveries.entry(delivery.alert.clone()).or_default().push(delivery);
        }
    }
    let body = |alert: &Alert| AlertBody::of(alert, deliveries.get(&alert.id).map_or(&[][..], Vec::as_slice));
    let bodies: Vec<AlertBody> = alerts.iter().map(body).collect();
    let next = alerts.last().filter(|_| alerts.len() == limit as usize);
    let next = next.map(|last| query.next((last.at.0, &last.id))).unwrap_or_default();
    Ok((next, Json(bodies)).into_response())
}

impl AlertBody {
    fn of(alert: &Alert, deliveries: &[Delivery]) -> Self {
        let (kind, applied) = (alert.cause.kind(), alert.cause.applied());
        let is_key = kind == AlertKind::Ending(EndingKind::ApiKey);
        let shown = |at: Timestamp| wire_time::to_the_second(at.to_time());
        Self {
            alert_id: alert.id.to_string(),
            at: shown(alert.at),
            rule: applied.map(|applied| applied.rule.clone()),
            kind: kind.as_str(),
            summary: alert_summary(alert),
            subject: alert.subject.clone(),
            fingerprint: (!is_key).then(|| alert.item.clone()),
            api_key: is_key.then(|| alert.item.clone()),
            expire: applied.map(|applied| shown(applied.ends_at)),
            project_id: alert.project.as_ref().map(ToString::to_string),
            owners: alert.owners.clone(),
            owner_count: alert.owner_count,
            withdrawn_at: alert.withdrawn_at.map(shown),
            deliveries: deliveries.iter().map(DeliveryBody::of).collect(),
        }
    }
}

impl DeliveryBody {
    fn of(delivery: &Delivery) -> Self {
        let is_pending = delivery.state == certward_store::DeliveryState::Pending;
        let failure = delivery.failure.as_deref();
        let (failure, status) = match failure.and_then(|text| text.split_once(' ')) {
            Some((code, status)) => (Some(code), status.parse().ok()),
            None => (failure, None),
        };
        Self {
            channel_id: delivery.channel.to_string(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_at: is_pending.then(|| wire_time::to_the_second(delivery.next_at.to_time())),
            failure: failure.map(str::to_owned),
            status,
        }
    }
}

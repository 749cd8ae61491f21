use std::borrow::Cow;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::SessionFilter;
use certward_pki::{
    ClientOffer, cipher_suite_name, named_group_name, signature_scheme_name, tls_version_name,
};
use certward_store::{HostInUse, Method, OfferDay, Scope};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DayText, DeploymentIdText, HostText, NodeIdText, TlsWordText, UtcTimeText},
    page::{ListQuery, is_number},
    path_id::PathId,
    silent_nodes, wire_time,
};

const DAYS_DEFAULT: u32 = 7;
/// Up to 64 offers each: some 2 MB.
const DAYS_MAX: u32 = 30;

/// What is known of a deployment's devices.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceSummary)]
pub(crate) struct DeviceSummaryBody {
    /// Sessions now.
    sessions: u64,
    /// Devices with a client certificate, seen in the last 90 days.
    known: u64,
    /// Sightings of devices, hosts and offers that were not recorded for lack of room; 0 again
    /// after a day without.
    not_recorded: u64,
    /// Nodes with a gateway whose sessions are not counted; `*` for all but the one that answers.
    #[schema(value_type = Vec<NodeIdText>)]
    silent_nodes: Vec<String>,
    /// The deployment's hosts that devices asked for in the last 90 days.
    #[schema(max_items = 256)]
    hosts: Vec<HostUseBody>,
    /// What ClientHellos offered, by day, newest day first; the greatest share first.
    offers: Vec<OfferBody>,
}

/// A host that devices asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HostUse)]
pub(crate) struct HostUseBody {
    #[schema(value_type = HostText)]
    host: String,
    /// Updated once an hour at most, UTC.
    #[schema(value_type = UtcTimeText)]
    last_seen_at: String,
}

/// What devices offered on a day. Hours that are not over are not in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Offer)]
pub(crate) struct OfferBody {
    #[schema(value_type = DayText)]
    day: String,
    /// Of the day's weight, from 0 to 1. Each network (IPv4 /24, IPv6 /48) weighs the same in an
    /// hour, however many connections it has.
    #[schema(minimum = 0.0, maximum = 1.0, example = 0.9)]
    share: f64,
    /// The most sessions of an hour, on one node.
    sessions: u64,
    /// The most networks of an hour, on one node.
    networks: u64,
    /// Versions of TLS.
    #[schema(value_type = Vec<TlsWordText>, max_items = 64)]
    versions: Vec<Cow<'static, str>>,
    /// With which the server may sign.
    #[schema(value_type = Vec<TlsWordText>, max_items = 64)]
    signature_schemes: Vec<Cow<'static, str>>,
    /// With which certificates may be signed, where the device says so apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<TlsWordText>, max_items = 64, required = false)]
    certificate_schemes: Vec<Cow<'static, str>>,
    /// For the key exchange.
    #[schema(value_type = Vec<TlsWordText>, max_items = 64)]
    groups: Vec<Cow<'static, str>>,
    #[schema(value_type = Vec<TlsWordText>, max_items = 64)]
    cipher_suites: Vec<Cow<'static, str>>,
    /// The most bytes of a record that they take, if limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0, maximum = 65535)]
    record_bytes: Option<u16>,
    /// Whether they name the server (SNI).
    server_name: bool,
}

/// What is known of a deployment's devices, with or without client certificates, without naming
/// one. Counted on its own. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/devices/summary", tag = "devices", operation_id = "getDeviceSummary",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("days" = Option<u32>, Query, minimum = 1, maximum = 30, description = "The newest days of offers; 7 when absent.")),
    responses((status = 200, description = "The summary.", body = DeviceSummaryBody)))]
pub(crate) async fn summary(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    let subject = format!("{}/devices/summary", deployment.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        let days = days(&ListQuery::read(&uri)?)?;
        let store = api.lifecycle.store();
        let since = store.clock().now().day() + 1 - i64::from(days);
        let reader = store.read();
        let total = reader.device_total(&deployment.id).await?;
        let hosts = reader.hosts_in_use(&deployment.id).await?;
        let offers = reader.offer_days(&deployment.id, since).await?;
        let live = api.lifecycle.sessions(&deployment.id, &SessionFilter::All, 0).await?;
        let body = DeviceSummaryBody {
            sessions: live.as_ref().map_or(0, |live| live.total),
            known: total.known,
            not_recorded: total.over,
            silent_nodes: live.map(|live| silent_nodes::named(&live.silent)).unwrap_or_default(),
            hosts: hosts.into_iter().map(HostUseBody::of).collect(),
            offers: bodies(&offers),
        };
        Ok(Json(body).into_response())
    })
    .await
}

fn days(query: &ListQuery<'_>) -> Result<u32, Error> {
    let fault = "days is no whole number from 1 to 30.";
    let read = |text: &str| {
        let number = Some(text).filter(|text| is_number(text))?.parse().ok();
        number.filter(|days| (1..=DAYS_MAX).contains(days))
    };
    Ok(query.parameter("days", fault, read)?.unwrap_or(DAYS_DEFAULT))
}

/// By day; the heaviest of a day are first already.
fn bodies(offers: &[OfferDay]) -> Vec<OfferBody> {
    let mut days: Vec<_> = offers.chunk_by(|one, other| one.day == other.day).collect();
    days.reverse();
    days.into_iter()
        .flat_map(|of_day| {
            let all: u64 = of_day.iter().map(|offer| offer.weight).sum();
            of_day.iter().map(move |offer| OfferBody::of(offer, share(offer.weight, all)))
        })
        .collect()
}

/// To four places.
fn share(weight: u64, all: u64) -> f64 {
    let parts = u128::from(weight) * 10_000 / u128::from(all.max(1));
    // At most 10,000.
    parts as f64 / 10_000.0
}

impl HostUseBody {
    fn of(in_use: HostInUse) -> Self {
        Self { host: in_use.host.into(), last_seen_at: wire_time::to_the_second(in_use.at.to_time()) }
    }
}

impl OfferBody {
    fn of(of_day: &OfferDay, share: f64) -> Self {
        let ClientOffer {
            versions,
            signature_schemes,
            certificate_schemes,
            groups,
            cipher_suites,
            record_bytes,
            has_server_name,
        } = &of_day.offer;
        let names = |values: &[u16], name: fn(u16) -> Cow<'static, str>| {
            values.iter().map(|value| name(*value)).collect::<Vec<_>>()
        };
        Self {
            day: wire_time::day(of_day.day),
            share,
            sessions: of_day.sessions,
            networks: of_day.networks,
            versions: names(versions, tls_version_name),
            signature_schemes: names(signature_schemes, signature_scheme_name),
            certificate_schemes: names(certificate_schemes, signature_scheme_name),
            groups: names(groups, named_group_name),
            cipher_suites: names(cipher_suites, cipher_suite_name),
            record_bytes: *record_bytes,
            server_name: *has_server_name,
        }
    }
}

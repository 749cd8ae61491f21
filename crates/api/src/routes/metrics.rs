use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header, request::Parts};

use crate::{
    context::Shared,
    error::{Error, ErrorBody},
    exposition::Exposition,
    framing,
    request_origin::PeerAddress,
};

/// The metrics of the whole program.
///
/// Without a key on loopback only, and as `localhost`, `127.0.0.1` or `[::1]`; else with any valid
/// key.
#[utoipa::path(get, path = "/metrics", tag = "beside the base", operation_id = "metrics", security((), ("basic" = [])),
    responses((status = 200, description = "OpenMetrics 1.0 if `Accept` names it, else Prometheus' text format 0.0.4.",
        content((String = "text/plain"), (String = "application/openmetrics-text"))),
        (status = 421, description = "`HOST_NOT_LOOPBACK`: without a key, and the host is not this machine's own.", body = ErrorBody)))]
pub(crate) async fn metrics(State(api): State<Shared>, request: Request) -> Result<Response, Error> {
    let (request, _unread) = request.into_parts();
    if !from_this_machine(&request) {
        api.login(&request).await?;
    } else if !as_this_machine(&request) {
        // A local web page with a name that resolves to loopback (DNS rebinding) has no key.
        match request.headers.contains_key(header::AUTHORIZATION) {
            true => _ = api.login(&request).await?,
            false => return Err(Error::Misdirected),
        }
    }
    let exposition = Exposition::accepted(&request.headers);
    let registry = Arc::clone(&api.registry);
    // Not on a thread that serves devices: thousands of series, and files of /proc.
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).map(|()| exposition.render(text))
    });
    let text = text.await.map_err(|_| Error::Internal)?.map_err(|_| Error::Internal)?;
    let headers = [(header::CONTENT_TYPE, exposition.content_type()), (header::VARY, "Accept")];
    Ok((headers, text).into_response())
}

/// From loopback, and not forwarded by a local proxy.
fn from_this_machine(request: &Parts) -> bool {
    let peer = request.extensions.get::<PeerAddress>();
    peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) && !forwarded(&request.headers)
}

/// Whether the requested host is loopback. Not checked for `/healthz` and `/readyz`: they reveal
/// nothing, and load balancers use any name.
fn as_this_machine(request: &Parts) -> bool {
    framing::target_host(request).is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
        is_loopback || host.eq_ignore_ascii_case("localhost") || host.eq_ignore_ascii_case("localhost.")
    })
}

fn forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].into_iter().any(|name| headers.contains_key(name))
}

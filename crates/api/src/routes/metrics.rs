use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header, request::Parts};

use crate::{auth::Peer, context::Shared, error::Error};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of the whole program. Without a key on loopback only, else with any valid key.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics", security((), ("basic" = [])),
    responses((status = 200, description = "OpenMetrics text.", body = String,
        content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(api): State<Shared>, request: Request) -> Result<Response, Error> {
    let (request, _unread) = request.into_parts();
    if !from_this_machine(&request) {
        api.login(&request).await?;
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &api.registry).map_err(|_| Error::Internal)?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

/// On loopback, and not handed on by a proxy of this machine for somebody elsewhere.
fn from_this_machine(request: &Parts) -> bool {
    let peer = request.extensions.get::<Peer>();
    peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) && !forwarded(&request.headers)
}

fn forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].into_iter().any(|name| headers.contains_key(name))
}

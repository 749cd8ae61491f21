use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::context::Shared;

/// That the program runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Whether this node serves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ready` or `not ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Whether the gateway accepts connections and knows every host.
    gateway: bool,
    /// Whether the store answers and can write, as of the last second.
    store: bool,
}

/// The program runs. Needs no key.
#[utoipa::path(get, path = "/healthz", tag = "operation", operation_id = "health", security(()),
    responses((status = 200, description = "It does.", body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// This node serves devices. A store that is away makes it no less ready, for then every node would be taken away from its devices at
/// once; `store` says so. Needs no key.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "ready", security(()),
    responses(
        (status = 200, description = "It does.", body = Ready),
        (status = 503, description = "It does not, not yet, or not any more.", body = Ready)))]
pub(crate) async fn readyz(State(api): State<Shared>) -> Response {
    let gateway = api.lifecycle.node_view().ready() && !api.shutdown.is_cancelled();
    let store = api.readiness.store_answers(api.lifecycle.store()).await;
    if gateway {
        Json(Ready { status: "ready", gateway, store }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Ready { status: "not ready", gateway, store })).into_response()
    }
}

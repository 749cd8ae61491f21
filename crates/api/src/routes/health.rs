use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{context::Shared, openapi::vocabulary::RoleWord};

/// That the program runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthBody {
    /// Always `alive`.
    #[schema(example = "alive", pattern = "^alive$")]
    status: &'static str,
}

/// Whether this node serves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ready)]
pub(crate) struct ReadyBody {
    /// `ready` or `not ready`.
    #[schema(example = "ready", pattern = "^(ready|not ready)$")]
    status: &'static str,
    #[schema(value_type = RoleWord)]
    role: &'static str,
    /// Whether the gateway accepts connections and knows every host. Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    gateway: Option<bool>,
    /// Whether the store answers and can write, as of the last second.
    store: bool,
}

/// The program runs. Needs no key.
#[utoipa::path(get, path = "/healthz", tag = "beside the base", operation_id = "health", security(()),
    responses((status = 200, description = "It does.", body = HealthBody)))]
pub(crate) async fn healthz() -> Json<HealthBody> {
    Json(HealthBody { status: "alive" })
}

/// This node serves devices, or, where it has no gateway, the API. A store that is away makes no
/// gateway less ready, for then every node would be taken away from its devices at once; `store`
/// says so. A node without a gateway is not ready then. Needs no key.
#[utoipa::path(get, path = "/readyz", tag = "beside the base", operation_id = "ready", security(()),
    responses(
        (status = 200, description = "It does.", body = ReadyBody),
        (status = 503, description = "It does not, not yet, or not any more.", body = ReadyBody)))]
pub(crate) async fn readyz(State(api): State<Shared>) -> Response {
    let (role, ends) = (api.settings.role, api.shutdown.is_cancelled());
    let gateway = role.has_gateway().then(|| api.lifecycle.node_view().ready() && !ends);
    let store = api.readiness.store_answers(api.lifecycle.store()).await;
    let (code, status) = match gateway.unwrap_or(store && !ends) {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (code, Json(ReadyBody { status, role: role.as_str(), gateway, store })).into_response()
}

//! All paths and layers.
//!
//! From the outside in: access log and metrics (catches panics), framing, authentication, the exact
//! path: no case folding, trailing slash or second decoding. HEAD is answered as GET.

use std::sync::Arc;

use axum::{
    Router, middleware,
    response::IntoResponse,
    routing::{MethodRouter, delete, get, post},
};

use http::Uri;

use crate::{access_log, auth, context::Shared, error::Error, framing};

pub(crate) mod alert_channels;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod crls;
pub(crate) mod deployments;
pub(crate) mod devices;
pub(crate) mod documents;
pub(crate) mod expiring;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod nodes;
pub(crate) mod projects;
pub(crate) mod revocations;
pub(crate) mod sessions;
pub(crate) mod tls;

pub(crate) fn router(api: Shared) -> Router {
    let under_base = match api.settings.role.has_api() {
        true => base(&api),
        false => Router::new().fallback(|| async {
            Error::NotFound("This node is a gateway and has no API; ask a node that has one.").into_response()
        }),
    };
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .merge(under_base)
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed.into_response() })
        .layer(middleware::from_fn(framing::check))
        .layer(middleware::from_fn_with_state(api.clone(), access_log::record))
        .with_state(api)
}

pub(crate) fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Paths that need a key, and what describes them.
fn base(api: &Shared) -> Router<Shared> {
    Router::new()
        .route("/openapi.json", get(documents::openapi))
        .route("/docs", get(documents::docs))
        .route("/public_api/v1/projects", get(projects::list).post(projects::create))
        .route("/public_api/v1/projects/{id}", project())
        .route("/public_api/v1/deployments", get(deployments::list).post(deployments::create))
        .route("/public_api/v1/deployments/{id}", deployment())
        .route("/public_api/v1/deployments/{id}/tls", certificate())
        .route("/public_api/v1/deployments/{id}/tls/check", post(tls::check))
        .route("/public_api/v1/deployments/{id}/tls/failures", get(tls::failures))
        .route("/public_api/v1/deployments/{id}/tls/versions", get(tls::versions))
        .route("/public_api/v1/deployments/{id}/tls/versions/{version}", delete(tls::erase_version))
        .route("/public_api/v1/deployments/{id}/tls/rollback", post(tls::rollback))
        .route("/public_api/v1/deployments/{id}/tls/client-cas", client_cas())
        .route(
            "/public_api/v1/deployments/{id}/tls/client-cas/{fingerprint}",
            delete(tls::client_cas::remove),
        )
        .route(
            "/public_api/v1/deployments/{id}/tls/client-cas/{fingerprint}/stragglers",
            get(tls::client_cas::stragglers),
        )
        .route(
            "/public_api/v1/deployments/{id}/tls/revocations",
            get(revocations::list).post(revocations::add),
        )
        .route("/public_api/v1/deployments/{id}/tls/revocations/{revocation}", delete(revocations::remove))
        .route("/public_api/v1/deployments/{id}/tls/crls", get(crls::list))
        .route("/public_api/v1/deployments/{id}/tls/crls/{crl}", crl())
        .route("/public_api/v1/deployments/{id}/devices", get(devices::list))
        .route("/public_api/v1/deployments/{id}/devices/summary", get(devices::summary))
        .route("/public_api/v1/deployments/{id}/devices/{device}", delete(devices::forget))
        .route("/public_api/v1/deployments/{id}/sessions", get(sessions::list).delete(sessions::close))
        .route("/public_api/v1/keys", get(keys::list).post(keys::create))
        .route("/public_api/v1/keys/{key}", delete(keys::remove))
        .route("/public_api/v1/nodes", get(nodes::list))
        .route("/public_api/v1/expiring", get(expiring::list))
        .route("/public_api/v1/alerts", get(alerts::list))
        .route("/public_api/v1/audit", get(audit::list))
        .route("/public_api/v1/alert-channels", get(alert_channels::list).post(alert_channels::create))
        .route("/public_api/v1/alert-channels/{id}", delete(alert_channels::remove))
        .route("/public_api/v1/alert-channels/{id}/test", post(alert_channels::test))
        // Router parameters are never empty, but an empty id is a wrong id.
        .route("/public_api/v1/deployments//tls", certificate())
        .route("/public_api/v1/deployments//tls/check", post(tls::check))
        .route("/public_api/v1/deployments//tls/failures", get(tls::failures))
        .route("/public_api/v1/deployments//tls/versions", get(tls::versions))
        .route("/public_api/v1/deployments//tls/versions/{version}", delete(tls::erase_version))
        .route("/public_api/v1/deployments//tls/rollback", post(tls::rollback))
        .route("/public_api/v1/deployments//tls/client-cas", client_cas())
        .route("/public_api/v1/deployments//tls/client-cas/{fingerprint}", delete(tls::client_cas::remove))
        .route(
            "/public_api/v1/deployments//tls/client-cas/{fingerprint}/stragglers",
            get(tls::client_cas::stragglers),
        )
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed.into_response() })
        .fallback(|uri: Uri| async move { Error::NotFound(nothing_at(uri.path())).into_response() })
        .layer(middleware::from_fn_with_state(Arc::clone(api), auth::authenticate))
}

fn nothing_at(path: &str) -> &'static str {
    match path.strip_prefix(auth::BASE) {
        Some(rest) if rest.len() > 1 && rest.ends_with('/') => {
            "There is nothing at this path; send the request to the path without the slash at its end."
        }
        Some(rest) if rest.starts_with(auth::BASE) => {
            "There is nothing at this path; it has /public_api/v1 twice, of the base address and of the path."
        }
        Some(_) => "There is nothing at this path; /docs lists all.",
        None => "There is nothing at this path; all paths of the API begin with /public_api/v1.",
    }
}

fn project() -> MethodRouter<Shared> {
    get(projects::show).patch(projects::change).delete(projects::remove)
}

fn deployment() -> MethodRouter<Shared> {
    get(deployments::show).patch(deployments::change).delete(deployments::remove)
}

fn client_cas() -> MethodRouter<Shared> {
    get(tls::client_cas::list).post(tls::client_cas::add)
}

fn crl() -> MethodRouter<Shared> {
    get(crls::show).put(crls::set).delete(crls::remove)
}

fn certificate() -> MethodRouter<Shared> {
    get(tls::show).post(tls::create).put(tls::replace).delete(tls::remove)
}

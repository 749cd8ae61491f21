use std::panic::AssertUnwindSafe;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use certward_store::DeploymentId;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::{
    api_limit::ApiLimit,
    auth::Caller,
    context::{Context, Shared},
    error::Error,
    metrics::RequestLabels,
    path_id::PathId,
    store_trouble::StoreTroubleCause,
};

/// Outermost layer: logs each request, and answers 500 after a panic.
///
/// Logged are only method and route (from closed lists), status, duration, the public half of the
/// key and the deployment.
pub(crate) async fn record(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let deployment = route
        .starts_with("/public_api/v1/deployments/{id}")
        .then(|| PathId::of(request.uri().path()).parse(|id| DeploymentId::parse(id).ok()))
        .flatten();
    // A panic drops its state with the request; a transaction is rolled back.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answer.unwrap_or_else(|_panic| {
        tracing::error!(method, route, "a request handler panicked");
        Error::Internal.into_response()
    });
    api.note(method, route, deployment.as_ref(), &response, begun);
    response
}

impl Context {
    fn note(
        &self,
        method: &'static str,
        route: &str,
        deployment: Option<&DeploymentId>,
        response: &Response,
        begun: Instant,
    ) {
        let status = response.status().as_u16();
        let seconds = begun.elapsed().as_secs_f64();
        let labels = RequestLabels { method, route: route.to_owned(), status };
        self.metrics.requests.get_or_create(&labels).inc();
        self.metrics.seconds.observe(seconds);
        if let Some(&limit) = response.extensions().get::<ApiLimit>() {
            self.metrics.limit_hit(limit);
        }
        if let Some(cause) = response.extensions().get::<StoreTroubleCause>() {
            self.store_trouble.note(cause, Instant::now());
        }
        let key = response.extensions().get::<Caller>().map_or("-", |caller| caller.key.as_str());
        let (http_status, duration_ms) = (status, (seconds * 1000.0).round());
        // Only an existing one: else the path may hold a secret.
        let found = response.status().is_success() || response.status() == StatusCode::UNPROCESSABLE_ENTITY;
        let deployment = deployment.filter(|_| found).map(tracing::field::display);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method,
                    route,
                    deployment.id = deployment,
                    http_status,
                    duration_ms,
                    key,
                    "request"
                )
            };
        }
        // Authenticated changes; all else at debug.
        if matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") && key != "-" {
            line!(info);
        } else {
            line!(debug);
        }
    }
}

/// Clients can send any name.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

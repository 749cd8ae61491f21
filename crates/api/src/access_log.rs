use std::panic::AssertUnwindSafe;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use certward_store::{CertificateChange, DeploymentId};
use futures_util::FutureExt;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::{
    api_limit::ApiLimit,
    audited_action::AuditedAction,
    auth::Caller,
    context::{Context, Shared},
    error::{Error, ErrorCode},
    metrics::RequestLabels,
    path_id::PathId,
    refusal_sums::RefusedChange,
    request_origin::{REQUEST_ID, RequestOrigin},
    store_trouble::StoreTroubleCause,
};

/// Outermost layer: names each request, logs it, has refused changes recorded, and answers 500
/// after a panic.
///
/// Logged are only method and route (from closed lists), status and error code, duration, the
/// public half of the key, the client's address, the deployment and fingerprints of certificates.
pub(crate) async fn record(State(api): State<Shared>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let origin = RequestOrigin::of(request.extensions());
    request.extensions_mut().insert(origin);
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let deployment = route
        .starts_with("/public_api/v1/deployments/{id}")
        .then(|| PathId::of(request.uri().path()).parse(|id| DeploymentId::parse(id).ok()))
        .flatten();
    let action = AuditedAction::of(method, route, request.uri().path());
    // A panic drops its state with the request; a transaction is rolled back.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_panic| {
        tracing::error!(method, route, "a request handler panicked");
        Error::Internal.into_response()
    });
    response.headers_mut().extend(origin.header().map(|id| (REQUEST_ID, id)));
    api.note(method, route, deployment.as_ref(), &response, &origin, begun);
    if let Some(refused) = action.and_then(|action| refused(action, &response)) {
        api.refusals.refused(refused);
    }
    response
}

/// A change that a valid key was refused.
fn refused(action: AuditedAction, response: &Response) -> Option<RefusedChange> {
    let caller = response.extensions().get::<Caller>().filter(|_| response.status().is_client_error())?;
    let ErrorCode(code) = response.extensions().get::<ErrorCode>()?;
    let AuditedAction { name, subject, deployment } = action;
    Some(RefusedChange {
        key: caller.key.clone(),
        action: name,
        subject,
        deployment,
        code: code.clone(),
        origin: caller.audit_origin(),
    })
}

impl Context {
    fn note(
        &self,
        method: &'static str,
        route: &str,
        deployment: Option<&DeploymentId>,
        response: &Response,
        origin: &RequestOrigin,
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
        let answered = response.status();
        let found = answered.is_success()
            || matches!(answered, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT)
            || (answered == StatusCode::TOO_MANY_REQUESTS && key != "-");
        let made = response.extensions().get::<DeploymentId>();
        let deployment = made.or(deployment.filter(|_| found)).map(tracing::field::display);
        let change = response.extensions().get::<CertificateChange>();
        let before = change.and_then(|change| change.before.as_deref());
        let after = change.and_then(|change| change.after.as_deref());
        let code = response.extensions().get::<ErrorCode>().map(|ErrorCode(code)| code.as_str());
        let address = origin.address.map(tracing::field::display);
        let request_id = tracing::field::display(origin.request);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method,
                    route,
                    deployment.id = deployment,
                    http_status,
                    error.code = code,
                    duration_ms,
                    key,
                    client.address = address,
                    fingerprint.before = before,
                    fingerprint.after = after,
                    request.id = request_id,
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

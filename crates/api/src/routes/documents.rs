//! What describes the API: the OpenAPI document, and a page made from it.

use axum::{extract::State, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::context::Shared;

/// This document.
///
/// Needs no key. A client that has it sends `If-None-Match`.
#[utoipa::path(get, path = "/openapi.json", tag = "beside the base", operation_id = "openapi", security(()),
    responses(
        (status = 200, description = "An OpenAPI 3.1 document.", content_type = "application/json", body = Object),
        (status = 304, description = "The client has it.")))]
pub(crate) async fn openapi(State(api): State<Shared>, headers: HeaderMap) -> Response {
    api.documents.openapi.answer(&headers)
}

const REFERRER: (HeaderName, HeaderValue) =
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));

/// The same as a page, without scripts.
///
/// Needs no key, nor any other file or host.
#[utoipa::path(get, path = "/docs", tag = "beside the base", operation_id = "docs", security(()),
    responses(
        (status = 200, description = "HTML.", content_type = "text/html", body = String),
        (status = 304, description = "The client has it.")))]
pub(crate) async fn docs(State(api): State<Shared>, headers: HeaderMap) -> Response {
    let mut response = api.documents.page.answer(&headers);
    response.headers_mut().extend([REFERRER]);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, api.documents.page_policy.clone());
    response
}

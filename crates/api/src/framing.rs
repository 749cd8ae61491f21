//! Checked first in every request: one host, one end of the body.
//!
//! An ambiguous request is refused and its connection closed: a proxy may take for the next request
//! what is a body here (RFC 9112 §3.2, §6.3, §11.2).

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Version, header, request::Parts, uri::Authority};

use crate::error::Error;

/// hyper removed a `Content-Length`, see `heads.rs`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HadContentLength;

pub(crate) async fn check(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match host_fault(&parts).or_else(|| body_fault(&parts)) {
        None => next.run(Request::from_parts(parts, body)).await,
        Some(fault) => {
            let mut response = Error::BadRequest(fault).into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// Exactly one (RFC 9112 §3.2); optional in HTTP/1.0, as in checks of older load balancers.
fn host_fault(request: &Parts) -> Option<&'static str> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version >= Version::HTTP_11 => Some("The request has no Host header."),
        (None, _) => None,
        (Some(_), Some(_)) => Some("The request has more than one Host header."),
        (Some(host), None) => match host.is_empty() || authority(host).is_some() {
            true => None,
            false => Some("The Host header is not HOST or HOST:PORT."),
        },
    }
}

fn body_fault(request: &Parts) -> Option<&'static str> {
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    if codings.next().is_some() {
        return Some("The request has more than one Transfer-Encoding header.");
    }
    if !first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        // hyper decodes only chunks and would pass on other codings.
        return Some("The request has a Transfer-Encoding other than chunked.");
    }
    let has_length = request.headers.contains_key(header::CONTENT_LENGTH)
        || request.extensions.get::<HadContentLength>().is_some();
    has_length.then_some("The request has both a Transfer-Encoding and a Content-Length.")
}

/// The host of the target, else of the header (RFC 9112 §3.2.2).
pub(crate) fn target_host(request: &Parts) -> Option<String> {
    let of_target = request.uri.authority().cloned();
    let authority = of_target.or_else(|| authority(request.headers.get(header::HOST)?))?;
    Some(authority.host().to_owned())
}

/// `HOST` or `HOST:PORT`; [`Authority`] also accepts a user name and any port text.
fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let is_port = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
    is_port.then_some(authority)
}

/// `identity` is none.
pub(crate) fn has_content_coding(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    !values.map(HeaderValue::as_bytes).all(|value| {
        value.split(|byte| *byte == b',').all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    })
}

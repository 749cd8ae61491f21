//! HTTP Basic (RFC 7617): user name = API key, password = secret key.
//!
//! Covers every path under [`BASE`], unknown ones too, before a body is read or `100 Continue`
//! sent. Malformed headers, unknown keys and wrong secrets take the same way through the store and
//! get the same answer.

use std::{ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use certward_lifecycle::Requester;
use certward_store::{ApiKey, ApiKeyRecord, AuditOrigin, Scope};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use zeroize::Zeroizing;

use crate::{
    context::{Context, Shared},
    error::Error,
    request_origin::{PeerAddress, RequestOrigin},
};

pub(crate) const BASE: &str = "/public_api/v1";

/// Unknown (keys are lower case), of the usual lengths so that it fails as slowly as any.
const NO_KEY: &str = "AAAAAAAAAAAAAAAA";
const NO_SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A valid API key, and its request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    key: Arc<ApiKeyRecord>,
    origin: Option<RequestOrigin>,
}

impl Caller {
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.may(scope) { Ok(()) } else { Err(Error::NoScope(scope)) }
    }

    /// For a change.
    pub(crate) fn requester(&self) -> Requester<'_> {
        Requester {
            key: &self.key.key,
            address: self.origin.and_then(|origin| origin.address),
            request: self.origin.map(|origin| origin.request),
        }
    }

    /// For a refused change.
    pub(crate) fn audit_origin(&self) -> AuditOrigin {
        let Requester { key, address, request } = self.requester();
        AuditOrigin { actor: key.to_string(), address, request }
    }
}

impl Deref for Caller {
    type Target = ApiKeyRecord;

    fn deref(&self) -> &ApiKeyRecord {
        &self.key
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    /// Fails closed: without [`authenticate`] there is no caller.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or(Error::Unauthorized)
    }
}

pub(crate) async fn authenticate(State(api): State<Shared>, request: Request, next: Next) -> Response {
    if !under_base(request.uri().path()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let mut response = match api.login(&parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller.clone());
            let mut response = next.run(Request::from_parts(parts, body)).await;
            // For the access log.
            response.extensions_mut().insert(caller);
            response
        }
        Err(error) => error.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn under_base(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Context {
    pub(crate) async fn login(&self, request: &Parts) -> Result<Caller, Error> {
        let headers = &request.headers;
        if !headers.contains_key(header::AUTHORIZATION) {
            // The first request before a challenge: no store read, no counted failure.
            return Err(Error::Unauthorized);
        }
        let credentials = Credentials::read(headers);
        let (key, secret) = match &credentials {
            Some(credentials) => (credentials.key.as_str(), credentials.secret.as_str()),
            None => (NO_KEY, NO_SECRET),
        };
        match self.lifecycle.store().authenticate(key, secret).await? {
            Some(record) => {
                let origin = request.extensions.get::<RequestOrigin>().copied();
                Ok(Caller { key: Arc::new(record), origin })
            }
            None => Err(self.refuse_login(request)),
        }
    }

    fn refuse_login(&self, request: &Parts) -> Error {
        self.metrics.failed_logins.inc();
        let peer = request.extensions.get::<PeerAddress>();
        self.refusals.login_failed(peer.map(|peer| peer.0.ip().to_canonical()));
        match peer.and_then(|peer| self.login_guard.failed(peer.0.ip(), tokio::time::Instant::now())) {
            Some(retry_after) => Error::TooManyLogins { retry_after },
            None => Error::Unauthorized,
        }
    }
}

struct Credentials {
    key: ApiKey,
    secret: Zeroizing<String>,
}

impl Credentials {
    /// One header, scheme in any case, padded base64, UTF-8, alphanumeric key, colon.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = Zeroizing::new(STANDARD.decode(rest.trim_matches(' ')).ok()?);
        let text = std::str::from_utf8(&bytes).ok()?;
        let (key, secret) = text.split_once(':')?;
        Some(Self { key: ApiKey::parse(key)?, secret: Zeroizing::new(secret.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        Credentials::read(&headers).map(|it| (it.key.to_string(), it.secret.to_string()))
    }

    #[test]
    fn credentials_are_read_in_every_form_that_the_rfc_allows_and_no_other() {
        let encoded = STANDARD.encode("key1:secret:with:colons");
        let expected = Some(("key1".to_owned(), "secret:with:colons".to_owned()));
        for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
            assert_eq!(read(&format!("{scheme} {encoded}")), expected, "{scheme}");
        }
        assert_eq!(read(&format!("Basic   {encoded} ")), expected);
        for wrong in [
            "".to_owned(),
            "Basic".to_owned(),
            "Basic ".to_owned(),
            encoded.clone(),
            format!("Bearer {encoded}"),
            format!("Basic {}", STANDARD.encode("no-colon")),
            format!("Basic {}", STANDARD.encode("key-1:not of letters and digits")),
            format!("Basic {}", STANDARD.encode(b"key1:\xff\xfe")),
            format!("Basic {}", STANDARD.encode(":no key")),
            "Basic !!!!".to_owned(),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn two_headers_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode("key1:secret"))).unwrap();
        headers.append(header::AUTHORIZATION, value.clone());
        assert!(Credentials::read(&headers).is_some());
        headers.append(header::AUTHORIZATION, value);
        assert!(Credentials::read(&headers).is_none());
    }

    #[test]
    fn only_what_is_under_the_base_needs_a_key() {
        for path in ["/public_api/v1", "/public_api/v1/", "/public_api/v1/x", "/public_api/v1//"] {
            assert!(under_base(path), "{path}");
        }
        for path in ["/", "/public_api", "/public_api/v10", "/Public_api/v1/x", "/public_api/v1x/", "*", ""] {
            assert!(!under_base(path), "{path}");
        }
    }
}

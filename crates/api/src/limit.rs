use std::future::Future;

use axum::response::{IntoResponse, Response};
use certward_store::{Method, RequestLimit};
use http::HeaderName;

use crate::{
    auth::Caller,
    context::Context,
    error::{Error, set_seconds},
};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

impl Context {
    /// Counts the request and runs `answer` if admitted. Every counted answer has the `RateLimit-…`
    /// headers, refusals and store failures too.
    ///
    /// `subject` is a deployment's id or another path; only paths have a `/`.
    pub(crate) async fn limited(
        &self,
        caller: &Caller,
        subject: &str,
        method: Method,
        answer: impl Future<Output = Result<Response, Error>>,
    ) -> Result<Response, Error> {
        let limit = self.limit(method);
        let admission = self.lifecycle.store().admit(&caller.key, subject, method, limit).await?;
        let mut response = if admission.admitted {
            answer.await.into_response()
        } else {
            self.metrics.rate_limited.inc();
            Error::RateLimited { retry_after: admission.reset }.into_response()
        };
        response.headers_mut().insert(LIMIT, admission.limit.into());
        response.headers_mut().insert(REMAINING, admission.remaining.into());
        set_seconds(&mut response, RESET, admission.reset);
        Ok(response)
    }

    fn limit(&self, method: Method) -> RequestLimit {
        match method {
            Method::Get | Method::Check | Method::Neighbours | Method::CloseSessions => {
                self.settings.limits.reads
            }
            Method::Pages => self.settings.limits.pages(),
            Method::Post | Method::Put | Method::Delete => self.settings.limits.changes,
            Method::Rollback => self.settings.limits.rollbacks,
            Method::ClientCas => self.settings.limits.client_cas,
            Method::Revocation => self.settings.limits.revocations,
        }
    }
}

/// For the OpenAPI document.
pub(crate) const HEADERS: [(&str, &str); 3] = [
    ("RateLimit-Limit", "How many requests the key may send within any window."),
    ("RateLimit-Remaining", "How many more would be admitted now."),
    ("RateLimit-Reset", "Seconds, rounded up, until the oldest counted request leaves the window."),
];

/// Also on 429 and 503.
pub(crate) const RETRY_AFTER: (&str, &str) =
    ("Retry-After", "Seconds, rounded up, after which it is worth trying again.");

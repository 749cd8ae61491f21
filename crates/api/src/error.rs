//! Every refusal of this API, and the one place that gives each its status, its stable code and its sentence.
//!
//! A body is always `{"code", "message", "details"}`; `details` is empty where there is nothing more to say. What an
//! operator of the program must know beyond that goes to the log, by way of [`Cause`], and never into the answer.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{Denied, DeploymentError, KeyError, OutOfBounds, ProjectError, TlsError};
use certward_store::{Scope, StoreError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{detail::Detail, store_trouble::Cause};

/// How long a client is asked to wait for the store: the known client waits at most 5 s between its tries.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// How long a client is asked to wait for its own uploads: the costliest takes some tenths of a second.
const UPLOAD_RETRY: Duration = Duration::from_secs(5);

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Error {
    /// It cannot be said what the request is for, or where it ends; its connection is closed.
    BadRequest(&'static str),
    /// A page that needs no key on this machine, asked for by the name of another host.
    Misdirected,
    /// No valid API key. One variant for every reason, so that the answers cannot differ.
    Unauthorized,
    /// No valid API key, again and again from this address.
    TooManyLogins { retry_after: Duration },
    /// The key is valid but may not do this.
    NoAccess(&'static str),
    /// The key lacks this scope.
    NoScope(Scope),
    /// The deployment does not exist, or the key does not see it.
    DeploymentNotFound,
    /// PUT or DELETE where no certificate is set.
    TlsNotFound,
    /// Anything else that is not there.
    NotFound(&'static str),
    /// The path exists, but not with this method; the router adds `Allow`.
    MethodNotAllowed,
    /// The body did not come within its deadline.
    BodyTimeout,
    /// Something is in the way that the client can remove.
    Conflict { code: &'static str, message: String },
    /// The body is larger than [`crate::body::BODY_BYTES_MAX`].
    BodyTooLarge,
    /// The body's form is not the one this API reads.
    UnsupportedMediaType(&'static str),
    /// The body is not a JSON object, or could not be read.
    InvalidJson(String),
    /// Wrong properties; never empty, most important first.
    Unprocessable(Vec<Detail>),
    /// POST where a certificate is set.
    TlsAlreadyExists,
    /// The key's requests in this window are used up.
    RateLimited { retry_after: Duration },
    /// So many uploads of the key wait to be judged.
    TooManyUploads,
    /// The store failed. Nothing was changed, or it is not known.
    Store(StoreError),
    /// A defect of this program.
    Internal,
}

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    /// Stable, for programs: `A-Z`, `0-9` and `_`. For 422 that of the most important detail.
    #[schema(example = "KEY_MISMATCH")]
    pub(crate) code: String,
    /// One plain sentence, for people.
    pub(crate) message: String,
    /// All that was found wrong, most important first; empty where the message says everything.
    pub(crate) details: Vec<Detail>,
}

impl Error {
    /// A key of some projects asks for a new one, which it would not see.
    pub(crate) const LIMITED_KEY: Self =
        Self::NoAccess("Only an API key that sees all projects can make one.");
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut retry_after = None;
        let mut cause = None;
        let mut details = Vec::new();
        let (status, code, message) = match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "BAD_REQUEST", message.to_owned()),
            Self::Misdirected => {
                let message = "Without an API key this is answered only as localhost, 127.0.0.1 or [::1].";
                (StatusCode::MISDIRECTED_REQUEST, "HOST_NOT_LOOPBACK", message.to_owned())
            }
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "A valid API key and secret key are needed.".to_owned(),
            ),
            Self::TooManyLogins { retry_after: wait } => {
                retry_after = Some(wait);
                let message = "Too many requests without a valid API key came from this address.";
                (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message.to_owned())
            }
            Self::NoAccess(message) => (StatusCode::FORBIDDEN, "NO_ACCESS", message.to_owned()),
            Self::NoScope(scope) => (
                StatusCode::FORBIDDEN,
                "NO_ACCESS",
                format!("The API key does not have the scope that this needs: {}.", scope.as_str()),
            ),
            Self::DeploymentNotFound => {
                (StatusCode::NOT_FOUND, "DEPLOYMENT_NOT_FOUND", "The deployment does not exist.".to_owned())
            }
            Self::TlsNotFound => {
                (StatusCode::NOT_FOUND, "TLS_NOT_FOUND", "The deployment has no certificate.".to_owned())
            }
            Self::NotFound(message) => (StatusCode::NOT_FOUND, "NOT_FOUND", message.to_owned()),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "This path does not have this method; see the Allow header.".to_owned(),
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "The body did not arrive in time.".to_owned(),
            ),
            Self::Conflict { code, message } => (StatusCode::CONFLICT, code, message),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                format!("The body is larger than {} KiB.", crate::body::BODY_BYTES_MAX / 1024),
            ),
            Self::UnsupportedMediaType(message) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message.to_owned())
            }
            Self::InvalidJson(message) => (StatusCode::BAD_REQUEST, "INVALID_JSON", message),
            Self::Unprocessable(found) => {
                details = found;
                return refusal(details);
            }
            Self::TlsAlreadyExists => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "TLS_ALREADY_EXISTS",
                "The deployment has a certificate already; replace it with PUT.".to_owned(),
            ),
            Self::RateLimited { retry_after: wait } => {
                retry_after = Some(wait);
                let message = "The requests that this API key may send here with this method are used up.";
                (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message.to_owned())
            }
            Self::TooManyUploads => {
                retry_after = Some(UPLOAD_RETRY);
                let message = "Too many uploads of this API key wait to be judged; send fewer at once.";
                (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message.to_owned())
            }
            Self::Store(error) => {
                retry_after = Some(STORE_RETRY);
                cause = Some(Cause::of(&error));
                // Not that nothing was changed: of a commit whose answer was lost nobody knows.
                let message = "The store cannot be used at the moment. Whether a change was made, GET says once it can.";
                (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE", message.to_owned())
            }
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                "Something went wrong inside; the log says more.".to_owned(),
            ),
        };
        let mut response =
            (status, Json(ErrorBody { code: code.to_owned(), message, details })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        // What the program's operator must know. Refusals that a client causes are in the access log already.
        if let Some(cause) = cause {
            response.extensions_mut().insert(cause);
        }
        if let Some(wait) = retry_after {
            set_seconds(&mut response, header::RETRY_AFTER, wait.max(Duration::from_secs(1)));
        }
        response
    }
}

/// RFC 7617: the user name and password are to be sent in UTF-8.
const CHALLENGE: &str = r#"Basic realm="certward", charset="UTF-8""#;

/// The answer 422. An empty list cannot come from a client's doing, so it is a defect and answered as one.
fn refusal(details: Vec<Detail>) -> Response {
    let Some(first) = details.first() else {
        tracing::error!("an upload was refused without a finding");
        return Error::Internal.into_response();
    };
    let (code, message) = (first.code.clone(), first.message.clone());
    (StatusCode::UNPROCESSABLE_ENTITY, Json(ErrorBody { code, message, details })).into_response()
}

/// A header whose value is a number of seconds, rounded up, so that whoever waits so long has waited long enough.
pub(crate) fn set_seconds(response: &mut Response, name: HeaderName, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(name, seconds.into());
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoKey => Self::Unauthorized,
            Denied::NoScope(scope) => Self::NoScope(scope),
            Denied::Store(error) => Self::Store(error),
        }
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::NoDeployment => Self::DeploymentNotFound,
            TlsError::AlreadyExists => Self::TlsAlreadyExists,
            TlsError::NotFound => Self::TlsNotFound,
            TlsError::TooManyUploads => Self::TooManyUploads,
            TlsError::Refused(findings) => Self::Unprocessable(Detail::list(findings)),
            TlsError::KeepsChanging => Self::Conflict {
                code: "DEPLOYMENT_CHANGED",
                message: "Hosts or profile of the deployment were changed again and again meanwhile; send it again.".to_owned(),
            },
            TlsError::Denied(denied) => denied.into(),
            TlsError::Store(error) => Self::Store(error),
        }
    }
}

impl From<DeploymentError> for Error {
    fn from(error: DeploymentError) -> Self {
        match error {
            DeploymentError::NotFound => Self::DeploymentNotFound,
            DeploymentError::Exists => Self::Conflict {
                code: "DEPLOYMENT_EXISTS",
                message: "A deployment of this id exists already.".to_owned(),
            },
            DeploymentError::NoProject => Self::Unprocessable(vec![Detail::unknown_project("projectID")]),
            DeploymentError::HostTaken(host) => Self::Unprocessable(vec![Detail::host_taken(&host)]),
            DeploymentError::Denied(denied) => denied.into(),
            DeploymentError::OutOfBounds(OutOfBounds::Quota(max)) => Self::Conflict {
                code: "DEPLOYMENT_QUOTA",
                message: format!(
                    "The project has {max} deployments already, as many as it may; remove one first."
                ),
            },
            DeploymentError::OutOfBounds(why) => Self::Unprocessable(vec![Detail::out_of_bounds(&why)]),
            DeploymentError::Store(error) => Self::Store(error),
        }
    }
}

impl From<ProjectError> for Error {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::Exists => Self::Conflict {
                code: "PROJECT_EXISTS",
                message: "A project of this id exists already.".to_owned(),
            },
            ProjectError::NotFound => Self::NotFound("The project does not exist."),
            ProjectError::NotEmpty(count) => Self::Conflict {
                code: "PROJECT_NOT_EMPTY",
                message: format!("The project still has deployments ({count}); remove them first."),
            },
            ProjectError::Default => Self::Conflict {
                code: "PROJECT_DEFAULT",
                message: "The project 'default' cannot be removed.".to_owned(),
            },
            ProjectError::LimitedKey => Self::LIMITED_KEY,
            ProjectError::Denied(denied) => denied.into(),
            ProjectError::SuffixTaken(suffix) => Self::Unprocessable(vec![Detail::suffix_taken(&suffix)]),
            ProjectError::SuffixInUse { outside, of_others } => Self::Conflict {
                code: "HOST_SUFFIX_IN_USE",
                message: format!(
                    "Hosts of deployments are in the way: {outside} of this project are under none of the suffixes, {of_others} of other \
                     projects are under one of them or cover one; change those hosts first."
                ),
            },
            ProjectError::Store(error) => Self::Store(error),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::GrantsMore => {
                Self::NoAccess("An API key can grant only scopes and projects that it has itself.")
            }
            KeyError::NoProject(_) => Self::Unprocessable(vec![Detail::unknown_project("projects")]),
            KeyError::NotFound => Self::NotFound("The API key does not exist."),
            KeyError::LastAdmin => Self::Conflict {
                code: "LAST_ADMIN_KEY",
                message: "It is the last admin key; make another one first.".to_owned(),
            },
            KeyError::Denied(denied) => denied.into(),
            KeyError::Store(error) => Self::Store(error),
        }
    }
}

//! Every refusal with its status, stable code and sentence.
//!
//! Facts for operators go to the log by [`StoreTroubleCause`].

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{
    AlertChannelError, Denied, DeploymentError, KeyError, OutOfBounds, ProjectError, TlsError,
};
use certward_store::{Scope, StoreError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{api_limit::ApiLimit, detail::Detail, store_trouble::StoreTroubleCause};

/// The known client retries within 5 s.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The costliest upload takes tenths of a second.
const UPLOAD_RETRY_AFTER: Duration = Duration::from_secs(5);

const DEPLOYMENT_QUOTA: &str = "DEPLOYMENT_QUOTA";

#[derive(Debug)]
pub(crate) enum Error {
    /// Ambiguous host or end of body; closes the connection.
    BadRequest(&'static str),
    /// A loopback page requested under another host name.
    Misdirected,
    /// One variant for every reason, so that answers cannot differ.
    Unauthorized,
    /// From this address.
    TooManyLogins { retry_after: Duration },
    /// The key may not do this.
    NoAccess(&'static str),
    /// The key lacks this scope.
    NoScope(Scope),
    /// Or the key does not see it.
    DeploymentNotFound,
    /// PUT or DELETE without a certificate.
    TlsNotFound,
    /// Any other missing resource.
    NotFound(&'static str),
    /// The router adds `Allow`.
    MethodNotAllowed,
    /// The body missed its deadline.
    BodyTimeout,
    /// The client can remove it.
    Conflict { code: &'static str, message: String },
    /// Larger than [`crate::body::BODY_BYTES_MAX`].
    BodyTooLarge,
    /// Wrong media type or coding.
    UnsupportedMediaType(&'static str),
    /// Or not readable.
    InvalidJson(String),
    /// Never empty, most important first.
    Unprocessable(Vec<Detail>),
    /// POST where a certificate is set.
    TlsAlreadyExists,
    /// Requests are used up.
    RateLimited { retry_after: Duration },
    /// Too many uploads of the key wait.
    TooManyUploads,
    /// No change, or an unknown outcome.
    Store(StoreError),
    /// A defect of this program.
    Internal,
}

/// An answer's error code, for access log and audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorCode(pub(crate) String);

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
    /// A key of some projects would not see what it creates.
    pub(crate) const LIMITED_KEY: Self =
        Self::NoAccess("Only an API key that sees all projects can make one.");
}

impl Error {
    /// The limit that refused the request.
    fn limit(&self) -> Option<ApiLimit> {
        match self {
            Self::BodyTooLarge => Some(ApiLimit::Body),
            Self::Conflict { code: DEPLOYMENT_QUOTA, .. } => Some(ApiLimit::Deployments),
            Self::TooManyLogins { .. } => Some(ApiLimit::Logins),
            Self::RateLimited { .. } => Some(ApiLimit::Requests),
            Self::TooManyUploads => Some(ApiLimit::Uploads),
            _ => None,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let limit = self.limit();
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
                retry_after = Some(UPLOAD_RETRY_AFTER);
                let message = "Too many uploads of this API key wait to be judged; send fewer at once.";
                (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message.to_owned())
            }
            Self::Store(error) => {
                retry_after = Some(STORE_RETRY_AFTER);
                cause = Some(StoreTroubleCause::of(&error));
                // Not "nothing was changed": a commit without an answer has an unknown outcome.
                let message = "The store cannot be used at the moment. Whether a change was made, GET says once it can.";
                (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE", message.to_owned())
            }
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                "Something went wrong inside; the log says more.".to_owned(),
            ),
        };
        let mut response = answer(status, ErrorBody { code: code.to_owned(), message, details });
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        // Refusals are in the access log already.
        if let Some(cause) = cause {
            response.extensions_mut().insert(cause);
        }
        if let Some(limit) = limit {
            response.extensions_mut().insert(limit);
        }
        if let Some(wait) = retry_after {
            set_seconds(&mut response, header::RETRY_AFTER, wait.max(Duration::from_secs(1)));
        }
        response
    }
}

/// RFC 7617: user name and password in UTF-8.
const CHALLENGE: &str = r#"Basic realm="certward", charset="UTF-8""#;

fn refusal(details: Vec<Detail>) -> Response {
    let Some(first) = details.first() else {
        tracing::error!("an upload was refused without a finding");
        return Error::Internal.into_response();
    };
    let (code, message) = (first.code.clone(), first.message.clone());
    answer(StatusCode::UNPROCESSABLE_ENTITY, ErrorBody { code, message, details })
}

fn answer(status: StatusCode, body: ErrorBody) -> Response {
    let code = ErrorCode(body.code.clone());
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(code);
    response
}

/// Rounded up, so that the wait is never too short.
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
                code: DEPLOYMENT_QUOTA,
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

impl From<AlertChannelError> for Error {
    fn from(error: AlertChannelError) -> Self {
        match error {
            AlertChannelError::LimitedKey => Self::NoAccess(
                "Only an API key that sees all projects can make a channel for all; name a project.",
            ),
            AlertChannelError::NoProject(_) => {
                Self::Unprocessable(vec![Detail::unknown_project("projectID")])
            }
            AlertChannelError::NotFound => Self::NotFound("The alert channel does not exist."),
            AlertChannelError::TooMany(max) => Self::Conflict {
                code: "CHANNEL_QUOTA",
                message: format!(
                    "The project, or the operator, has {max} alert channels already; remove one first."
                ),
            },
            AlertChannelError::NothingAllowed => Self::Unprocessable(vec![Detail::nothing_allowed()]),
            AlertChannelError::Denied(denied) => denied.into(),
            AlertChannelError::Store(error) => Self::Store(error),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::GrantsMore => Self::NoAccess(
                "An API key can grant only scopes and projects that it has itself, and ends no later.",
            ),
            KeyError::EndsInThePast => Self::Unprocessable(vec![Detail::ends_in_the_past("expiresAt")]),
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

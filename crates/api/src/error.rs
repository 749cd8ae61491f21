//! Every refusal with its status, stable code and sentence.
//!
//! Facts for operators go to the log by [`StoreTroubleCause`].

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{
    AlertChannelError, CrlError, Denied, DeploymentError, DeviceError, Handling, Impact, KeyError,
    OutOfBounds, ProjectError, RevocationError, TlsError,
};
use certward_store::{CRLS_MAX, Scope, StoreError, VersionId};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api_limit::ApiLimit,
    detail::Detail,
    impact_body::{self, ImpactBody},
    openapi::vocabulary::{CodeWord, SentenceText},
    prefer,
    refusal_code::RefusalCode,
    routes::revocations,
    store_trouble::StoreTroubleCause,
};

/// The known client retries within 5 s.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The costliest upload takes tenths of a second.
const UPLOAD_RETRY_AFTER: Duration = Duration::from_secs(5);

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
    /// It is not kept.
    VersionNotFound,
    /// The deny-list has none of this id.
    RevocationNotFound,
    /// The deployment has none of this id.
    CrlNotFound,
    /// None was `running` before the newest.
    NoEarlierVersion,
    /// Its key is erased.
    VersionErased(VersionId),
    /// Of the newest upload.
    ClientCaNotFound,
    /// Two-way needs one.
    LastClientCa,
    /// It has no client CAs.
    NotTwoWay,
    /// Any other missing resource.
    NotFound(&'static str),
    /// The router adds `Allow`.
    MethodNotAllowed,
    /// The body missed its deadline.
    BodyTimeout,
    /// The client can remove it.
    Conflict { code: RefusalCode, message: String },
    /// More bytes than these.
    BodyTooLarge(usize),
    /// A disconnect or a bad chunk.
    BodyUnreadable,
    /// Wrong media type or coding.
    UnsupportedMediaType(&'static str),
    /// Or not readable.
    InvalidJson(String),
    /// Never empty, most important first.
    Unprocessable(Vec<Detail>),
    /// POST where a certificate is set.
    TlsAlreadyExists,
    /// Of a strict change; nothing was changed.
    ImpactSevere(Box<Impact>),
    /// Requests are used up.
    RateLimited { retry_after: Duration },
    /// Too many uploads of the key wait.
    TooManyUploads,
    /// This node keeps too many.
    TooManyLargeBodies,
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
    #[schema(value_type = CodeWord)]
    pub(crate) code: String,
    /// One plain sentence, for people.
    #[schema(value_type = SentenceText)]
    pub(crate) message: String,
    /// All that was found wrong, most important first; empty where the message says everything.
    pub(crate) details: Vec<Detail>,
    /// Of `IMPACT_SEVERE`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) impact: Option<ImpactBody>,
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
            Self::BodyTooLarge(_) => Some(ApiLimit::Body),
            Self::Conflict { code: RefusalCode::DeploymentQuota, .. } => Some(ApiLimit::Deployments),
            Self::TooManyLogins { .. } => Some(ApiLimit::Logins),
            Self::RateLimited { .. } => Some(ApiLimit::Requests),
            Self::TooManyUploads => Some(ApiLimit::Uploads),
            Self::TooManyLargeBodies => Some(ApiLimit::LargeBodies),
            _ => None,
        }
    }
}

impl Error {
    /// The body; for 422 it has the details.
    pub(crate) fn body(&self) -> ErrorBody {
        match self {
            Self::Unprocessable(details) => match details.first() {
                Some(first) => ErrorBody {
                    code: first.code.clone(),
                    message: first.message.clone(),
                    details: details.clone(),
                    impact: None,
                },
                None => Self::Internal.body(),
            },
            _ => {
                let (code, message) = self.code_and_message();
                ErrorBody {
                    code: code.as_str().to_owned(),
                    message: message.into_owned(),
                    details: Vec::new(),
                    impact: match self {
                        Self::ImpactSevere(impact) => Some(Impact::clone(impact).into()),
                        _ => None,
                    },
                }
            }
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unprocessable(details) if !details.is_empty() => StatusCode::UNPROCESSABLE_ENTITY,
            _ => self.code_and_message().0.status(),
        }
    }

    fn code_and_message(&self) -> (RefusalCode, Cow<'_, str>) {
        let (code, message) = match self {
            Self::BadRequest(message) => (RefusalCode::BadRequest, *message),
            Self::Misdirected => (
                RefusalCode::HostNotLoopback,
                "Without an API key this is answered only as localhost, 127.0.0.1 or [::1].",
            ),
            Self::Unauthorized => (RefusalCode::Unauthorized, "A valid API key and secret key are needed."),
            Self::TooManyLogins { .. } => (
                RefusalCode::RateLimited,
                "Too many requests without a valid API key came from this address.",
            ),
            Self::NoAccess(message) => (RefusalCode::NoAccess, *message),
            Self::NoScope(scope) => {
                let message =
                    format!("The API key does not have the scope that this needs: {}.", scope.as_str());
                return (RefusalCode::NoAccess, message.into());
            }
            Self::DeploymentNotFound => (RefusalCode::DeploymentNotFound, "The deployment does not exist."),
            Self::TlsNotFound => (RefusalCode::TlsNotFound, "The deployment has no certificate."),
            Self::VersionNotFound => {
                (RefusalCode::VersionNotFound, "The version does not exist, or is not kept any more.")
            }
            Self::RevocationNotFound => {
                (RefusalCode::RevocationNotFound, "The deployment has no revocation of this id.")
            }
            Self::CrlNotFound => (RefusalCode::CrlNotFound, "The deployment has no CRL of this id."),
            Self::NoEarlierVersion => (
                RefusalCode::VersionNotFound,
                "No kept version was running before the newest one; name the one to go back to.",
            ),
            Self::VersionErased(version) => {
                let message = format!("The key of version {version} is erased: no rollback leads to it.");
                return (RefusalCode::VersionErased, message.into());
            }
            Self::ClientCaNotFound => {
                (RefusalCode::ClientCaNotFound, "The newest upload has no client CA of this fingerprint.")
            }
            Self::LastClientCa => (
                RefusalCode::ClientCaLast,
                "It is the only client CA, and two-way needs one: add the one that takes its place first.",
            ),
            Self::NotTwoWay => (
                RefusalCode::NotTwoWay,
                "The certificate is one-way and has no client CAs; an upload of type two-way gives it some.",
            ),
            Self::NotFound(message) => (RefusalCode::NotFound, *message),
            Self::MethodNotAllowed => {
                (RefusalCode::MethodNotAllowed, "This path does not have this method; see the Allow header.")
            }
            Self::BodyTimeout => (RefusalCode::RequestTimeout, "The body did not arrive in time."),
            Self::Conflict { code, message } => (*code, message.as_str()),
            Self::BodyTooLarge(bytes_max) => {
                let message = format!("The body is larger than {} KiB.", bytes_max / 1024);
                return (RefusalCode::BodyTooLarge, message.into());
            }
            Self::BodyUnreadable => (RefusalCode::InvalidJson, "The body could not be read to its end."),
            Self::UnsupportedMediaType(message) => (RefusalCode::UnsupportedMediaType, *message),
            Self::InvalidJson(message) => (RefusalCode::InvalidJson, message.as_str()),
            Self::TlsAlreadyExists => (
                RefusalCode::TlsAlreadyExists,
                "The deployment has a certificate already; replace it with PUT.",
            ),
            Self::ImpactSevere(impact) => {
                return (RefusalCode::ImpactSevere, impact_body::sentence(impact).into());
            }
            Self::RateLimited { .. } => (
                RefusalCode::RateLimited,
                "The requests that this API key may send here with this method are used up.",
            ),
            Self::TooManyUploads => (
                RefusalCode::RateLimited,
                "Too many uploads of this API key wait to be judged; send fewer at once.",
            ),
            Self::TooManyLargeBodies => (
                RefusalCode::RateLimited,
                "Too many bodies over 256 KiB are received at the moment; send it again.",
            ),
            // Not "nothing was changed": a commit without an answer has an unknown outcome.
            Self::Store(_) => (
                RefusalCode::StoreUnavailable,
                "The store cannot be used at the moment. Whether a change was made, GET says once it can.",
            ),
            Self::Unprocessable(_) | Self::Internal => {
                (RefusalCode::Internal, "Something went wrong inside; the log says more.")
            }
        };
        (code, message.into())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyLogins { retry_after } | Self::RateLimited { retry_after } => Some(*retry_after),
            Self::TooManyUploads | Self::TooManyLargeBodies => Some(UPLOAD_RETRY_AFTER),
            Self::Store(_) => Some(STORE_RETRY_AFTER),
            _ => None,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if matches!(&self, Self::Unprocessable(details) if details.is_empty()) {
            tracing::error!("an upload was refused without a finding");
        }
        let (status, body) = (self.status(), self.body());
        let code = ErrorCode(body.code.clone());
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(code);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        // Refusals are in the access log already.
        if let Self::Store(error) = &self {
            response.extensions_mut().insert(StoreTroubleCause::of(error));
        }
        if let Self::ImpactSevere(_) = &self {
            prefer::add_handling(response.headers_mut(), Some(Handling::Strict));
        }
        if let Some(limit) = self.limit() {
            response.extensions_mut().insert(limit);
        }
        if let Some(wait) = self.retry_after() {
            set_seconds(&mut response, header::RETRY_AFTER, wait.max(Duration::from_secs(1)));
        }
        response
    }
}

/// RFC 7617: user name and password in UTF-8.
pub(crate) const CHALLENGE: &str = r#"Basic realm="certward", charset="UTF-8""#;

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
            TlsError::NoVersion(Some(_)) => Self::VersionNotFound,
            TlsError::NoVersion(None) => Self::NoEarlierVersion,
            TlsError::VersionErased(version) => Self::VersionErased(version),
            TlsError::VersionInService(version) => Self::Conflict {
                code: RefusalCode::VersionInService,
                message: format!(
                    "The version {version} is in service: it is the newest, or nodes may serve it until the newest is proven."
                ),
            },
            TlsError::NoClientCa => Self::ClientCaNotFound,
            TlsError::LastClientCa => Self::LastClientCa,
            TlsError::NotTwoWay => Self::NotTwoWay,
            TlsError::TooManyUploads => Self::TooManyUploads,
            TlsError::Refused(findings) => Self::Unprocessable(Detail::list(findings)),
            TlsError::ImpactSevere(impact) => Self::ImpactSevere(impact),
            TlsError::KeepsChanging => Self::Conflict {
                code: RefusalCode::DeploymentChanged,
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
                code: RefusalCode::DeploymentExists,
                message: "A deployment of this id exists already.".to_owned(),
            },
            DeploymentError::NoProject => Self::Unprocessable(vec![Detail::unknown_project("projectID")]),
            DeploymentError::HostTaken(host) => Self::Unprocessable(vec![Detail::host_taken(&host)]),
            DeploymentError::Denied(denied) => denied.into(),
            DeploymentError::OutOfBounds(OutOfBounds::Quota(max)) => Self::Conflict {
                code: RefusalCode::DeploymentQuota,
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
                code: RefusalCode::ProjectExists,
                message: "A project of this id exists already.".to_owned(),
            },
            ProjectError::NotFound => Self::NotFound("The project does not exist."),
            ProjectError::NotEmpty(count) => Self::Conflict {
                code: RefusalCode::ProjectNotEmpty,
                message: format!("The project still has deployments ({count}); remove them first."),
            },
            ProjectError::Default => Self::Conflict {
                code: RefusalCode::ProjectDefault,
                message: "The project 'default' cannot be removed.".to_owned(),
            },
            ProjectError::LimitedKey => Self::LIMITED_KEY,
            ProjectError::Denied(denied) => denied.into(),
            ProjectError::SuffixTaken(suffix) => Self::Unprocessable(vec![Detail::suffix_taken(&suffix)]),
            ProjectError::SuffixInUse { outside, of_others } => Self::Conflict {
                code: RefusalCode::HostSuffixInUse,
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
                code: RefusalCode::ChannelQuota,
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

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NoDeployment => Self::DeploymentNotFound,
            DeviceError::NotFound => Self::NotFound("The deployment has no device of this id."),
            DeviceError::Denied(denied) => denied.into(),
            DeviceError::Store(error) => Self::Store(error),
        }
    }
}

impl From<RevocationError> for Error {
    fn from(error: RevocationError) -> Self {
        match error {
            RevocationError::NoDeployment => Self::DeploymentNotFound,
            RevocationError::NotFound => Self::RevocationNotFound,
            RevocationError::Count => revocations::new::wrong_count(),
            RevocationError::Refused(refused) => revocations::new::refused(&refused),
            RevocationError::Full { listed, room, wanted } => Self::Conflict {
                code: RefusalCode::RevocationQuota,
                message: format!(
                    "The deny-list has {listed} entries and room for {room} more, not for {wanted}; remove some first, or use a CRL."
                ),
            },
            RevocationError::Denied(denied) => denied.into(),
            RevocationError::Store(error) => Self::Store(error),
        }
    }
}

impl From<CrlError> for Error {
    fn from(error: CrlError) -> Self {
        let quota = |message| Self::Conflict { code: RefusalCode::CrlQuota, message };
        match error {
            CrlError::NoDeployment => Self::DeploymentNotFound,
            CrlError::NotFound => Self::CrlNotFound,
            CrlError::Refused(findings) => Self::Unprocessable(Detail::list(findings)),
            CrlError::StaleInService => Self::Conflict {
                code: RefusalCode::CrlStale,
                message: "The CRL in service is stale: with hard, all certificates of its issuer would be refused; set a newer one with hard."
                    .to_owned(),
            },
            CrlError::TooMany => {
                quota(format!("The deployment has {CRLS_MAX} CRLs already, as many as it may; remove one first."))
            }
            CrlError::NoRoom { room } => quota(format!(
                "The CRLs of a deployment may have 64 MiB in all; there is room for {} KiB.",
                room / 1024
            )),
            CrlError::StoreFull => {
                quota("The CRLs of all deployments may have 1 GiB in all, and there is no room.".to_owned())
            }
            CrlError::KeepsChanging => Self::Conflict {
                code: RefusalCode::DeploymentChanged,
                message: "Client CAs or the CRL changed during each judgement; send it again.".to_owned(),
            },
            CrlError::Denied(denied) => denied.into(),
            CrlError::TooManyUploads => Self::TooManyUploads,
            CrlError::Store(error) => Self::Store(error),
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
                code: RefusalCode::LastAdminKey,
                message: "It is the last admin key; make another one first.".to_owned(),
            },
            KeyError::Denied(denied) => denied.into(),
            KeyError::Store(error) => Self::Store(error),
        }
    }
}

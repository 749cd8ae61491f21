use std::net::IpAddr;

use crate::{ApiKey, CertificateChange, DeploymentId, ProjectId, RequestId};

/// Who asked for something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOrigin {
    /// The API key, or `certward`.
    pub actor: String,
    /// The client's.
    pub address: Option<IpAddr>,
    /// The API's.
    pub request: Option<RequestId>,
}

impl AuditOrigin {
    /// The program itself: what nodes and time cause.
    pub fn certward() -> Self {
        Self { actor: "certward".to_owned(), address: None, request: None }
    }

    /// An API key, without a request.
    pub fn key(key: &ApiKey) -> Self {
        Self { actor: key.to_string(), address: None, request: None }
    }
}

/// A row to append: a change, or one that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who, and from where.
    pub origin: AuditOrigin,
    /// Such as `tls.replace`, `deployment.create`, `key.revoke`.
    pub action: &'static str,
    /// The id of its subject.
    pub subject: String,
    /// Facts in one line; never secret.
    pub detail: String,
    /// Whose it is; `None`: the operator's.
    pub project: Option<ProjectId>,
    /// The deployment that was changed, or was to be.
    pub deployment: Option<DeploymentId>,
    /// The error code; `None`: done.
    pub refusal: Option<String>,
    /// What became of the certificate.
    pub certificate: CertificateChange,
}

impl AuditEntry {
    /// A change that was made, without further facts.
    pub fn new(origin: AuditOrigin, action: &'static str, subject: impl Into<String>) -> Self {
        Self {
            origin,
            action,
            subject: subject.into(),
            detail: String::new(),
            project: None,
            deployment: None,
            refusal: None,
            certificate: CertificateChange::default(),
        }
    }
}

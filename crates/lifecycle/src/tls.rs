use std::time::Duration;

use certward_pki::{Finding, Judgement, TlsType, Upload};
use certward_store::{ApiKeyRecord, Deployment, DeploymentId, StoreError, Timestamp};
use thiserror::Error;

use crate::Lifecycle;

/// What an operator sees of a deployment's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsView {
    /// None is set.
    Absent,
    /// A deletion is being carried out.
    Terminated,
    /// One is set.
    Set(Box<CertificateView>),
}

/// The newest accepted upload, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// The leaf's notAfter.
    pub not_after: Timestamp,
    /// Where it stands.
    pub status: Status,
    /// The leaf's common name, if it has one.
    pub common_name: Option<String>,
    /// The warnings and notices it was accepted with.
    pub warnings: Vec<Finding>,
}

/// Where the newest accepted upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not yet proven on every counted node.
    Pending,
    /// Proven on every counted node.
    Running,
    /// Not proven in time, or no way in.
    Failed {
        /// Why, in one plain sentence.
        reason: String,
    },
}

/// Why a change of a certificate was not made.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The deployment is gone.
    #[error("the deployment does not exist")]
    NoDeployment,
    /// POST where one is set.
    #[error("a certificate is set already")]
    AlreadyExists,
    /// PUT or DELETE where none is set.
    #[error("no certificate is set")]
    NotFound,
    /// The findings refuse the upload. Most important first; the first is an error.
    #[error("the upload is refused")]
    Refused(Vec<Finding>),
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// What an operator sees of the deployment's certificate.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tls(&self, _deployment: &Deployment) -> Result<TlsView, StoreError> {
        todo!("lifecycle")
    }

    /// As [`Lifecycle::tls`], but holds the answer until the status leaves `pending` and `terminated`, or `wait` has passed.
    /// `None` when the deployment is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tls_settled(
        &self,
        _id: &DeploymentId,
        _wait: Duration,
    ) -> Result<Option<TlsView>, StoreError> {
        todo!("lifecycle")
    }

    /// Judges and rehearses an upload without storing anything.
    pub fn check_tls(&self, _deployment: &Deployment, _upload: &Upload) -> Judgement {
        todo!("lifecycle")
    }

    /// POST: sets the first certificate. Durable when this returns.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn create_tls(
        &self,
        _actor: &ApiKeyRecord,
        _id: &DeploymentId,
        _upload: &Upload,
    ) -> Result<CertificateView, TlsError> {
        todo!("lifecycle")
    }

    /// PUT: replaces the certificate. Durable when this returns.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn replace_tls(
        &self,
        _actor: &ApiKeyRecord,
        _id: &DeploymentId,
        _upload: &Upload,
    ) -> Result<CertificateView, TlsError> {
        todo!("lifecycle")
    }

    /// DELETE: erases all keys of the deployment; the nodes then let go. Durable when this returns.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn delete_tls(&self, _actor: &ApiKeyRecord, _id: &DeploymentId) -> Result<(), TlsError> {
        todo!("lifecycle")
    }
}

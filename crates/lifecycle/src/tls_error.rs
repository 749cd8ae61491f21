use certward_pki::Finding;
use certward_store::{StoreError, VersionId};
use thiserror::Error;

use crate::{Denied, Impact};

/// Why a certificate was not changed.
#[derive(Debug, Error)]
pub enum TlsError {
    /// No such deployment.
    #[error("the deployment does not exist")]
    NoDeployment,
    /// POST, but a certificate is set.
    #[error("a certificate is set already")]
    AlreadyExists,
    /// PUT or DELETE, but none is set.
    #[error("no certificate is set")]
    NotFound,
    /// Most important first; the first is an error.
    #[error("the upload is refused")]
    Refused(Vec<Finding>),
    /// A version that a rollback or an erasure names, or the one before the newest (`None`), is not
    /// kept.
    #[error("the version does not exist, or is not kept any more")]
    NoVersion(Option<VersionId>),
    /// A rollback to a version without its key.
    #[error("the key of version {0} is erased")]
    VersionErased(VersionId),
    /// It is served, or may be.
    #[error("the version {0} is in service")]
    VersionInService(VersionId),
    /// The newest upload has no client CA of this fingerprint.
    #[error("the deployment has no such client CA")]
    NoClientCa,
    /// The only client CA cannot be removed.
    #[error("it is the only client CA")]
    LastClientCa,
    /// A one-way certificate has no client CAs.
    #[error("the certificate is one-way")]
    NotTwoWay,
    /// A strict change, whose impact is severe.
    #[error("the change would disconnect devices")]
    ImpactSevere(Box<Impact>),
    /// Hosts or profile changed during each judgement.
    #[error("the deployment was changed again and again while the upload was judged")]
    KeepsChanging,
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The key's queue is full.
    #[error("too many uploads of this API key wait already")]
    TooManyUploads,
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

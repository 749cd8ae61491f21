use certward_store::{CrlId, Deployment};

use crate::{error::Error, path_id::PathId};

/// What requests are counted as.
pub(super) fn subject(deployment: &Deployment) -> String {
    format!("{}/tls/crls", deployment.id)
}

/// Of the path, where it must exist.
pub(super) fn existing(path: &str) -> Result<CrlId, Error> {
    PathId::crl_of(path).ok_or(Error::CrlNotFound)
}

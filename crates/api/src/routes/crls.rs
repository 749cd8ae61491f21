//! The CRLs of a deployment.

pub(crate) mod body;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod set;
pub(crate) mod show;

use certward_store::{CrlId, Deployment};

pub(crate) use list::list;
pub(crate) use remove::remove;
pub(crate) use set::set;
pub(crate) use show::show;

use crate::{error::Error, path_id::PathId};

/// What requests are counted as.
fn subject(deployment: &Deployment) -> String {
    format!("{}/tls/crls", deployment.id)
}

/// Of the path, where it must exist.
fn existing(path: &str) -> Result<CrlId, Error> {
    PathId::crl_of(path).ok_or(Error::CrlNotFound)
}

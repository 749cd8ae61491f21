//! The CRLs of a deployment.

pub(crate) mod body;
mod crl_path;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod set;
pub(crate) mod show;

pub(crate) use list::list;
pub(crate) use remove::remove;
pub(crate) use set::set;
pub(crate) use show::show;

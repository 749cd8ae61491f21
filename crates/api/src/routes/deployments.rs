//! Deployments: a broker and its hosts.

pub(crate) mod body;
pub(crate) mod broker_trouble;
pub(crate) mod certificate;
pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod show;

pub(crate) use change::change;
pub(crate) use create::create;
pub(crate) use list::list;
pub(crate) use remove::remove;
pub(crate) use show::show;

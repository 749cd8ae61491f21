//! The deny-list of a deployment.

pub(crate) mod add;
pub(crate) mod body;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod remove;

pub(crate) use add::add;
pub(crate) use list::list;
pub(crate) use remove::remove;

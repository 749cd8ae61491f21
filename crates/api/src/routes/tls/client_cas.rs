//! The client CAs of a deployment's newest upload: who uses each, adding and removing one.

pub(crate) mod add;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod stragglers;

pub(crate) use add::add;
pub(crate) use list::list;
pub(crate) use remove::remove;
pub(crate) use stragglers::stragglers;

//! API keys.

mod body;
pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod remove;

pub(crate) use create::create;
pub(crate) use list::list;
pub(crate) use remove::remove;

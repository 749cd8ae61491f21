//! Alert channels: where alerts go.

pub(crate) mod body;
pub(crate) mod create;
pub(crate) mod list;
mod receiver;
pub(crate) mod remove;
pub(crate) mod test;

pub(crate) use create::create;
pub(crate) use list::list;
pub(crate) use remove::remove;
pub(crate) use test::test;

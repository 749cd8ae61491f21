//! The sessions of a deployment's devices: connections that their broker has answered.

pub(crate) mod close;
pub(crate) mod filter;
pub(crate) mod list;

pub(crate) use close::close;
pub(crate) use list::list;

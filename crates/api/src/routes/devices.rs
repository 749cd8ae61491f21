//! The devices of a deployment: those with a client certificate one by one, and what all offered.

pub(crate) mod forget;
pub(crate) mod list;
pub(crate) mod summary;

pub(crate) use forget::forget;
pub(crate) use list::list;
pub(crate) use summary::summary;

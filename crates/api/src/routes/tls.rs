//! The certificate of a deployment, with `/check` and `/failures`.

pub(crate) mod body;
pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod failures;
pub(crate) mod remove;
pub(crate) mod replace;
mod set;
pub(crate) mod show;

pub(crate) use check::check;
pub(crate) use create::create;
pub(crate) use failures::failures;
pub(crate) use remove::remove;
pub(crate) use replace::replace;
pub(crate) use show::show;

//! The certificate of a deployment, with `/check`, `/client-cas`, `/failures`, `/versions` and
//! `/rollback`.

pub(crate) mod body;
pub(crate) mod check;
pub(crate) mod client_cas;
pub(crate) mod create;
pub(crate) mod erase_version;
pub(crate) mod failures;
pub(crate) mod remove;
pub(crate) mod replace;
pub(crate) mod rollback;
mod set;
pub(crate) mod show;
pub(crate) mod versions;

pub(crate) use check::check;
pub(crate) use create::create;
pub(crate) use erase_version::erase_version;
pub(crate) use failures::failures;
pub(crate) use remove::remove;
pub(crate) use replace::replace;
pub(crate) use rollback::rollback;
pub(crate) use show::show;
pub(crate) use versions::versions;

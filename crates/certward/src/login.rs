//! Logins: an API's URL with a key and a CA, each in a file of its own, which only its user reads.
//!
//! They belong together: a key is never sent to another URL than that it was stored for.

mod folder;
mod name;

pub(crate) use self::{folder::LoginFolder, name::LoginName};

use reqwest::Url;

use crate::api_key_pair::ApiKeyPair;

/// Its text form is a key file with two more fields, `url` and `ca`.
pub(crate) struct Login {
    pub(crate) url: Url,
    pub(crate) key: ApiKeyPair,
    /// PEM. The text and not its path: a login stays whole when files are moved.
    pub(crate) ca: Option<String>,
}

use reqwest::Url;

use crate::api_key_pair::ApiKeyPair;

/// Its text form is a key file with two more fields, `url` and `ca`.
pub(crate) struct Login {
    pub(crate) url: Url,
    pub(crate) key: ApiKeyPair,
    /// PEM. The text and not its path: a login stays whole when files are moved.
    pub(crate) ca: Option<String>,
}

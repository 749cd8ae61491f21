use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{HttpUrl, HttpUrlError};

/// Where a webhook is posted to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookUrl(HttpUrl);

impl WebhookUrl {
    /// Reads and normalises a URL.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        HttpUrl::parse(text).map(Self)
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    pub fn as_url(&self) -> &Url {
        self.0.as_url()
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

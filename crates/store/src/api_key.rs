use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{ProjectId, Timestamp};

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Read and change certificates.
    #[serde(rename = "tls")]
    Tls,
    /// Read certificates' status.
    #[serde(rename = "tls:read")]
    TlsRead,
    /// Read, make, change and remove deployments.
    #[serde(rename = "deployments")]
    Deployments,
    /// Everything.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tls, Self::TlsRead, Self::Deployments, Self::Admin];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::TlsRead => "tls:read",
            Self::Deployments => "deployments",
            Self::Admin => "admin",
        }
    }

    /// Reads the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether a key with this scope may do what `wanted` allows.
    pub fn includes(self, wanted: Self) -> bool {
        self == Self::Admin || self == wanted || (self == Self::Tls && wanted == Self::TlsRead)
    }
}

/// The public half of an API key: letters and digits, matched exactly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ApiKey(Box<str>);

impl ApiKey {
    /// Reads a key: 1 to 64 letters and digits. `None` for anything else: such a key cannot exist.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        fits.then(|| Self(text.into()))
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.0)
    }
}

/// The secret half: 256 random bits as text, shown once. Stored only as an HMAC.
pub struct ApiSecret(pub(crate) Zeroizing<String>);

impl ApiSecret {
    /// The text to show to its owner, once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiSecret(redacted)")
    }
}

/// An API key as it is kept, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The public half.
    pub key: ApiKey,
    /// For people.
    pub name: String,
    /// What it may do; never empty.
    pub scopes: Vec<Scope>,
    /// The projects it sees; `None` is all of them.
    pub projects: Option<Vec<ProjectId>>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl ApiKeyRecord {
    /// Whether it may do what `wanted` allows.
    pub fn may(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(wanted))
    }

    /// Whether it sees the project.
    pub fn sees(&self, project: &ProjectId) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.contains(project))
    }
}

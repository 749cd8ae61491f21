use std::fmt;

use serde::{Deserialize, Serialize};

/// How strictly uploads are judged. Profiles only add refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Accepts everything that devices can use.
    #[default]
    Default,
    /// EMQX Cloud's rules: 60 days left, a key of RSA 2048, P-256 or P-384, and the issuer's key of
    /// the same kind.
    EmqxCloud,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 2] = [Self::Default, Self::EmqxCloud];

    /// Parses the wire name, case-sensitive.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == text)
    }

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::EmqxCloud => "emqx-cloud",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

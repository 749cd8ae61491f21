use std::fmt;

use serde::{Deserialize, Serialize};

/// How strictly the uploads of a deployment are judged. A profile only ever adds refusals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Whatever devices can use is accepted.
    #[default]
    Default,
    /// As EMQX Cloud accepts certificates: at least 60 days of validity left, keys of RSA 2048, P-256 or P-384 only,
    /// and the leaf's key of the same kind as its issuer's.
    EmqxCloud,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::Default, Self::EmqxCloud];

    /// Reads the wire name; `None` for anything else, also for other spellings of case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == text)
    }

    /// The wire name: `default` or `emqx-cloud`.
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

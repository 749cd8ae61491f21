use serde::{Deserialize, Serialize};

/// What a CRL means after its nextUpdate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StalePolicy {
    /// It still counts; a warning reports it.
    #[default]
    Soft,
    /// The certificates of its issuer are refused.
    Hard,
}

impl StalePolicy {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Soft, Self::Hard];

    /// Parses the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

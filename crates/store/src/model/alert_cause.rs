use crate::{AlertKind, EndingKind, Timestamp};

/// Why an alert was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertCause {
    /// A rule applies to something that ends.
    Ending(AppliedRule),
    /// A strict change was refused for its impact on devices.
    StoppedChange {
        /// What the alert says of it: text that the store does not read.
        detail: String,
    },
    /// No device has used a client CA for long.
    UnusedClientCa {
        /// Likewise.
        detail: String,
    },
}

/// A rule that applies to something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedRule {
    /// What kind of thing ends.
    pub kind: EndingKind,
    /// The rule, such as `1/10`, `7d` or `end`.
    pub rule: String,
    /// notBefore, or the creation.
    pub begins_at: Timestamp,
    /// notAfter, or the end.
    pub ends_at: Timestamp,
    /// By how many milliseconds the clock had jumped just before; 0 for none.
    pub clock_jump: i64,
}

impl AlertCause {
    /// The rule, if it is about something that ends.
    pub fn applied(&self) -> Option<&AppliedRule> {
        match self {
            Self::Ending(applied) => Some(applied),
            Self::StoppedChange { .. } | Self::UnusedClientCa { .. } => None,
        }
    }

    /// What the alert is about.
    pub fn kind(&self) -> AlertKind {
        match self {
            Self::Ending(applied) => AlertKind::Ending(applied.kind),
            Self::StoppedChange { .. } => AlertKind::StoppedChange,
            Self::UnusedClientCa { .. } => AlertKind::UnusedClientCa,
        }
    }
}

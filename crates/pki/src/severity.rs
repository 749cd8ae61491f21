use serde::{Deserialize, Serialize};

/// A finding's effect on the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The upload is refused.
    Error,
    /// Accepted, and reported.
    Warning,
    /// Repaired, and reported.
    Notice,
}

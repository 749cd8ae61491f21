use serde::{Deserialize, Serialize};

/// What a finding does to the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The upload is refused.
    Error,
    /// The upload is accepted, and the finding reported.
    Warning,
    /// The upload was repaired, and the repair reported.
    Notice,
}

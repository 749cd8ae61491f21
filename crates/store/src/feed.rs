use crate::{DeploymentId, Generation};

/// One row of the change feed: this deployment changed, was made or was removed.
///
/// The row says only *that*; what is true now, the reader asks the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// The sequence number, which is the generation that the change drew.
    pub generation: Generation,
    /// The deployment that changed.
    pub deployment: DeploymentId,
}

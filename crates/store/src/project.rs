use crate::{ProjectId, Timestamp};

/// Deployments that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// For people; may be empty.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

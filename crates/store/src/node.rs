use crate::{DeploymentId, Generation, NodeId, Timestamp};

/// A node that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its id, from its data folder.
    pub id: NodeId,
    /// When it joined.
    pub started_at: Timestamp,
    /// It counts until then.
    pub lease_until: Timestamp,
}

/// That a node is counted for a change of a deployment, and what it has said of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The counted node.
    pub node: NodeId,
    /// The newest generation of the deployment that the node has proven, or let go of. `Generation(0)`: none yet.
    pub proven: Generation,
    /// Why the newest try failed, if it did.
    pub reason: Option<String>,
}

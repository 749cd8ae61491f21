use certward_store::{Deployment, Version};

/// A deployment with its newest upload.
pub(super) struct InspectedDeployment {
    pub(super) deployment: Deployment,
    pub(super) upload: Option<Version>,
}

use certward_pki::HostName;
use certward_store::{ApiKeyRecord, Deployment, DeploymentId, ProjectId, StoreError, Upstream};
use thiserror::Error;

use crate::Lifecycle;

/// A deployment to make.
#[derive(Debug, Clone)]
pub struct NewDeployment {
    /// Its id; drawn (8 lower-case alphanumerics) when absent.
    pub id: Option<DeploymentId>,
    /// For people.
    pub name: String,
    /// The project; `default` when absent.
    pub project: Option<ProjectId>,
    /// The broker's plain MQTT address.
    pub upstream: Upstream,
    /// The broker's plain WebSocket address.
    pub ws_upstream: Option<Upstream>,
    /// The names that lead here; duplicates are dropped.
    pub hosts: Vec<HostName>,
}

/// What to change of a deployment; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct DeploymentChange {
    /// For people.
    pub name: Option<String>,
    /// The broker's plain MQTT address.
    pub upstream: Option<Upstream>,
    /// The broker's plain WebSocket address; `Some(None)` takes it away.
    pub ws_upstream: Option<Option<Upstream>>,
    /// The names that lead here.
    pub hosts: Option<Vec<HostName>>,
}

/// Why a deployment was not made, changed or removed.
#[derive(Debug, Error)]
pub enum DeploymentError {
    /// It does not exist.
    #[error("the deployment does not exist")]
    NotFound,
    /// The id is taken.
    #[error("a deployment of this id exists")]
    Exists,
    /// The project does not exist, or the key does not see it.
    #[error("the project does not exist")]
    NoProject,
    /// The host is another deployment's.
    #[error("the host {0} is taken by another deployment")]
    HostTaken(HostName),
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// Makes a deployment.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn create_deployment(
        &self,
        _actor: &ApiKeyRecord,
        _new: NewDeployment,
    ) -> Result<Deployment, DeploymentError> {
        todo!("lifecycle")
    }

    /// Changes a deployment. New hosts or a new way in make its certificate `pending` again until they are proven.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn change_deployment(
        &self,
        _actor: &ApiKeyRecord,
        _id: &DeploymentId,
        _change: DeploymentChange,
    ) -> Result<Deployment, DeploymentError> {
        todo!("lifecycle")
    }

    /// Removes a deployment with its certificate, keys, hosts and connections.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn remove_deployment(
        &self,
        _actor: &ApiKeyRecord,
        _id: &DeploymentId,
    ) -> Result<(), DeploymentError> {
        todo!("lifecycle")
    }
}

use std::{fmt, sync::Arc};

use certward_lifecycle::{
    CarryingOut, FailedHandshake, LiveEvidence, NodeView, Rehearsal, SessionFilter, SessionsByClientCa,
    SessionsOfNode, TrustChange,
};
use certward_pki::{DenyKey, DeviceId, Material, NoEntryPoint};
use certward_store::{Clock, Deployment, DeploymentId, Generation, NodeId};

use crate::{
    config::{tickets::KeyRing, tls_config::TlsConfigFactory},
    proof::rehearsal,
};

/// The gateway of an API-only node: rehearses uploads, has no devices.
pub struct NoGateway {
    tls_configs: TlsConfigFactory,
}

impl NoGateway {
    /// Opens nothing.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let ring = Arc::new(KeyRing::new(Arc::clone(&clock)));
        Self { tls_configs: TlsConfigFactory::new(clock, ring) }
    }
}

impl fmt::Debug for NoGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoGateway").finish_non_exhaustive()
    }
}

impl Rehearsal for NoGateway {
    fn rehearse(&self, material: &Material) -> Result<(), String> {
        rehearsal::rehearse(&self.tls_configs, material)
    }
}

impl NodeView for NoGateway {
    fn ready(&self) -> bool {
        true
    }

    /// Gateway nodes report it; the change is then `failed` at once.
    fn entry_point(&self, _: &Deployment) -> Result<(), NoEntryPoint> {
        Ok(())
    }

    fn connections(&self, _: &DeploymentId) -> u64 {
        0
    }

    fn gateway_node(&self) -> Option<NodeId> {
        None
    }

    fn recent_failures(&self, _: &DeploymentId) -> Vec<FailedHandshake> {
        Vec::new()
    }

    fn newest_failure(&self, _: &DeploymentId) -> Option<FailedHandshake> {
        None
    }

    fn sessions(&self, _: &DeploymentId, _: &SessionFilter, _: usize) -> Option<SessionsOfNode> {
        None
    }

    fn connected(&self, _: &DeploymentId, _: &[DeviceId]) -> Option<Vec<DeviceId>> {
        None
    }

    fn close_sessions(&self, _: &DeploymentId, _: &SessionFilter) -> Option<u64> {
        None
    }

    fn live_evidence(&self, _: &DeploymentId, _: &TrustChange) -> LiveEvidence {
        LiveEvidence::default()
    }

    fn denied_sessions(&self, _: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
        vec![0; keys.len()]
    }

    /// It serves no device.
    fn carried_out(&self, _: &DeploymentId, _: Generation) -> CarryingOut<'_> {
        Box::pin(std::future::ready(true))
    }

    fn sessions_by_client_ca(&self, _: &DeploymentId, _: &[Vec<u8>]) -> SessionsByClientCa {
        SessionsByClientCa::default()
    }
}

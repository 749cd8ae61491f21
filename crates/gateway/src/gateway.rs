use std::{fmt, net::SocketAddr, sync::Arc};

use certward_lifecycle::{Entropy, FailedHandshake, Lifecycle, NodeView, Rehearsal};
use certward_pki::Material;
use certward_store::{Clock, Deployment, DeploymentId, NodeId};
use prometheus_client::registry::Registry as Metrics;
use tokio_util::sync::CancellationToken;

use crate::{GatewayError, Settings};

/// The gateway of this node. Cheap to clone: all clones are one gateway.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    node: NodeId,
}

/// Listening sockets that nobody accepts from yet.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<SocketAddr>,
}

impl Gateway {
    /// Puts the gateway together; nothing is opened yet. Metrics are registered as `certward_gateway_…`.
    ///
    /// # Errors
    /// [`GatewayError::NoListeners`], [`GatewayError::Tls`].
    pub fn new(
        settings: Settings,
        node: NodeId,
        _clock: Arc<dyn Clock>,
        _entropy: Arc<dyn Entropy>,
        _metrics: &mut Metrics,
    ) -> Result<Self, GatewayError> {
        if settings.listeners.is_empty() {
            return Err(GatewayError::NoListeners);
        }
        Ok(Self { inner: Arc::new(Inner { settings, node }) })
    }

    /// Takes the addresses of all listeners. Connections wait in the system's queue until [`Gateway::run`].
    ///
    /// # Errors
    /// [`GatewayError::Bind`] names the address and what to do.
    pub fn bind(&self) -> Result<Bound, GatewayError> {
        Ok(Bound { addresses: self.inner.settings.listeners.iter().map(|l| l.listen).collect() })
    }

    /// Joins, fills the index of hosts, follows the feed, serves devices and proves what it serves, until `shutdown`; then stops
    /// accepting, leaves, lets connections end within [`crate::Deadlines::drain`], closes the rest and returns.
    /// A store that cannot be reached is waited for, and stops no handshake later.
    ///
    /// # Errors
    /// [`GatewayError::Listener`].
    pub async fn run(
        &self,
        _bound: Bound,
        _lifecycle: Lifecycle,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        shutdown.cancelled().await;
        Ok(())
    }
}

impl Bound {
    /// The addresses, in the order of [`Settings::listeners`]; with the ports taken where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}

impl Rehearsal for Gateway {
    fn rehearse(&self, _material: &Material) -> Result<(), String> {
        Ok(())
    }
}

impl NodeView for Gateway {
    fn ready(&self) -> bool {
        false
    }

    fn has_way_in(&self, _deployment: &Deployment) -> bool {
        false
    }

    fn connections(&self, _deployment: &DeploymentId) -> u64 {
        0
    }

    fn recent_failures(&self, _deployment: &DeploymentId) -> Vec<FailedHandshake> {
        Vec::new()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("node", &self.inner.node).finish_non_exhaustive()
    }
}

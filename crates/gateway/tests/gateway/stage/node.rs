use std::net::SocketAddr;

use certward_gateway::{Bound, Gateway};
use certward_lifecycle::Lifecycle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A gateway that serves until its shutdown.
pub(crate) struct RunningNode {
    pub(crate) gateway: Gateway,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

impl RunningNode {
    pub(crate) fn start(bound: Bound, lifecycle: Lifecycle) -> Self {
        let gateway = bound.gateway().clone();
        let (addresses, shutdown) = (bound.addresses(), CancellationToken::new());
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { bound.prepare(lifecycle, shutdown).await.serve().await.unwrap() }
        });
        Self { gateway, addresses, shutdown, running }
    }
}

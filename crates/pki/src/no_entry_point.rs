use thiserror::Error;

/// Why no device can reach a deployment through a node's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoEntryPoint {
    /// No name selects it on a shared listener.
    #[error("it has no host, no listener of its own, and is not the default deployment")]
    NoHost,
    /// Every listener is bound to another deployment.
    #[error("the node has no shared listener, and none that is bound to this deployment")]
    NoListener,
    /// Only `wss` listeners reach it.
    #[error("only wss listeners lead to it, and it has no WebSocket broker")]
    NoWebSocketBroker,
}

impl NoEntryPoint {
    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoHost => "Give the deployment a host: certward deployment set ID --host NAME.",
            Self::NoListener => {
                "Add a [[gateway.listener]] to the node's configuration: without `deployment`, so that hosts lead to \
                 their deployments, or with `deployment` set to this one's id."
            }
            Self::NoWebSocketBroker => {
                "Give the deployment a WebSocket broker: certward deployment set ID --ws-upstream HOST:PORT, or add a \
                 [[gateway.listener]] with protocol = \"mqtts\" to the node's configuration."
            }
        }
    }
}

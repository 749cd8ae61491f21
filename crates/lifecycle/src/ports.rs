use std::pin::Pin;

use certward_pki::{DenyKey, DeviceId, Material, NoEntryPoint};
use certward_store::{
    AlertReceiver, CrlUrl, Deployment, DeploymentId, FetchConditions, Generation, NodeId, Timestamp,
};

use crate::{
    FailedHandshake, LiveEvidence, SessionFilter, SessionsByClientCa, SessionsOfNode, TrustChange,
    expiry::alert_message::AlertMessage,
};

/// Checks whether material can be served. Implemented by the gateway, in memory.
pub trait Rehearsal: Send + Sync + std::fmt::Debug + 'static {
    /// Makes trial handshakes in each TLS version.
    ///
    /// # Errors
    /// One plain sentence without secrets.
    fn rehearse(&self, material: &Material) -> Result<(), String>;
}

/// This node's view of itself. Implemented by the gateway.
pub trait NodeView: Send + Sync + std::fmt::Debug + 'static {
    /// Whether the node accepts, and can resolve every host.
    fn ready(&self) -> bool;

    /// Whether a device can reach the deployment through this node.
    fn entry_point(&self, deployment: &Deployment) -> Result<(), NoEntryPoint>;

    /// Connections through this node.
    fn connections(&self, deployment: &DeploymentId) -> u64;

    /// This node, if it has a gateway.
    fn gateway_node(&self) -> Option<NodeId>;

    /// Newest first; at most [`crate::FAILURES_KEPT`].
    fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake>;

    /// The first of [`NodeView::recent_failures`], without a copy of the others.
    fn newest_failure(&self, deployment: &DeploymentId) -> Option<FailedHandshake>;

    /// Sessions through this node; at most `limit`. `None`: the filter is by device, and this node
    /// identifies none.
    fn sessions(
        &self,
        deployment: &DeploymentId,
        filter: &SessionFilter,
        limit: usize,
    ) -> Option<SessionsOfNode>;

    /// Those of the devices that have a session through this node. `None`: it identifies no device.
    fn connected(&self, deployment: &DeploymentId, devices: &[DeviceId]) -> Option<Vec<DeviceId>>;

    /// Ends sessions through this node, and returns how many. `None` as of [`NodeView::sessions`].
    fn close_sessions(&self, deployment: &DeploymentId, filter: &SessionFilter) -> Option<u64>;

    /// What the sessions through this node say of a change; verifies once for each path of issuers,
    /// so not on an async thread.
    fn live_evidence(&self, deployment: &DeploymentId, change: &TrustChange) -> LiveEvidence;

    /// How many sessions through this node each key finds, in the order of the keys.
    fn denied_sessions(&self, deployment: &DeploymentId, keys: &[DenyKey]) -> Vec<u64>;

    /// Whether this node has carried this change out: new handshakes follow it, and sessions that
    /// it ends were signalled. Waits for that, less than a second.
    fn carried_out(&self, deployment: &DeploymentId, change: Generation) -> CarryingOut<'_>;
    /// How many sessions through this node each of the client CAs (DER) admits; verifies as
    /// [`NodeView::live_evidence`].
    fn sessions_by_client_ca(&self, deployment: &DeploymentId, client_cas: &[Vec<u8>]) -> SessionsByClientCa;
}

/// A wait under way.
pub type CarryingOut<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Sends alerts. Implemented by `alerts`.
pub trait AlertSender: Send + Sync + std::fmt::Debug + 'static {
    /// Sends a message once.
    fn send<'a>(
        &'a self,
        receiver: &'a AlertReceiver,
        message: &'a AlertMessage,
        now: Timestamp,
    ) -> Sending<'a>;

    /// Whether any network may be reached.
    fn may_reach_any(&self) -> bool;
}

/// Reaches nothing.
#[derive(Debug)]
pub(crate) struct NoAlertSender;

impl AlertSender for NoAlertSender {
    fn send<'a>(&'a self, _: &'a AlertReceiver, _: &'a AlertMessage, _: Timestamp) -> Sending<'a> {
        let sentence = "this node sends no alerts".to_owned();
        let nothing = Undelivered { code: "not_allowed", status: None, sentence, is_final: false };
        Box::pin(std::future::ready(Err(nothing)))
    }

    fn may_reach_any(&self) -> bool {
        false
    }
}

/// An attempt under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send + 'a>>;

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// From a closed list, such as `timed_out`.
    pub code: &'static str,
    /// What the receiver answered with, if that is the reason.
    pub status: Option<u16>,
    /// One sentence, without any text of the receiver.
    pub sentence: String,
    /// The receiver wants no further attempt (HTTP 410).
    pub is_final: bool,
}

/// Fetches CRLs. Implemented by `outbound`.
pub trait CrlFetcher: Send + Sync + std::fmt::Debug + 'static {
    /// Asks once, with the conditions of the CRL that is there.
    fn fetch<'a>(&'a self, url: &'a CrlUrl, conditions: &'a FetchConditions) -> Fetching<'a>;

    /// Whether any network may be reached.
    fn may_reach_any(&self) -> bool;
}

/// Fetches nothing.
#[derive(Debug)]
pub(crate) struct NoCrlFetcher;

impl CrlFetcher for NoCrlFetcher {
    fn fetch<'a>(&'a self, _: &'a CrlUrl, _: &'a FetchConditions) -> Fetching<'a> {
        let nothing = Unfetched { code: "not_allowed", sentence: "this node fetches no CRLs".to_owned() };
        Box::pin(std::future::ready(Err(nothing)))
    }

    fn may_reach_any(&self) -> bool {
        false
    }
}

/// A fetch under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, Unfetched>> + Send + 'a>>;

/// What a CRL's server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The CRL that the conditions are of.
    Unmodified,
    /// Another one, or one without conditions.
    Body {
        /// At most 16 MiB, not judged yet.
        bytes: Vec<u8>,
        /// To be sent with the next fetch.
        conditions: FetchConditions,
    },
}

/// Why a CRL was not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfetched {
    /// From a closed list, such as `timed_out`.
    pub code: &'static str,
    /// One sentence, without any text of the server.
    pub sentence: String,
}

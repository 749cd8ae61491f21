use std::{borrow::Cow, pin::Pin};

use certward_pki::{ClientCertificate, Material, NeededCa, NoEntryPoint};
use certward_store::{AlertReceiver, Deployment, DeploymentId, Timestamp};

use crate::expiry::message::AlertMessage;

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

    /// Newest first; bounded.
    fn recent_failures(&self, deployment: &DeploymentId) -> Vec<FailedHandshake>;

    /// The first of [`NodeView::recent_failures`], without a copy of the others.
    fn newest_failure(&self, deployment: &DeploymentId) -> Option<FailedHandshake>;
}

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

/// A failed handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHandshake {
    /// When.
    pub at: Timestamp,
    /// The device's address.
    pub peer: std::net::SocketAddr,
    /// From a closed list, such as `certificate_required`.
    pub cause: &'static str,
    /// Its meaning, in one sentence.
    pub meaning: &'static str,
    /// What to do about the cause; [`FailedHandshake::remedy_for`] knows more.
    pub remedy: &'static str,
    /// SNI: at most 253 letters, digits, `-`, `_` and `.`.
    pub server_name: Option<Box<str>>,
    /// `1.2` or `1.3`, once negotiated.
    pub tls_version: Option<&'static str>,
    /// Such as `MQTT level 6`; at most 64 characters.
    pub detail: Option<Box<str>>,
    /// If the device sent one.
    pub client_certificate: Option<Box<ClientCertificate>>,
}

impl FailedHandshake {
    /// What to do; names the CA that a client certificate needs. A stranger chose the name: it is
    /// in quotes, which it cannot contain.
    pub fn remedy_for(&self, deployment: &DeploymentId) -> Cow<'static, str> {
        let needed = self.client_certificate.as_ref().and_then(|certificate| certificate.needed_ca.as_ref());
        let Some(NeededCa { name, is_name_known }) = needed else { return self.remedy.into() };
        let set = format!("certward tls set {deployment} --cert CERT --key KEY --client-ca FILE");
        match is_name_known {
            false => format!(
                "Add the CA \"{name}\" to the client CAs: {set}, where FILE holds all of them; or let the device send its intermediates too."
            ),
            true => format!(
                "A CA \"{name}\" is among the client CAs, but its key did not sign the device's certificate. Have the certificate issued by it, or add the other CA of this name: {set}, where FILE holds all of them."
            ),
        }
        .into()
    }
}

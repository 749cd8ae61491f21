use std::borrow::Cow;

use certward_pki::{ClientCertificate, NeededCa};
use certward_store::{DeploymentId, Timestamp};

/// Of each deployment, on each node.
pub const FAILURES_KEPT: usize = 50;

/// A failed handshake, on this node or another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHandshake {
    /// When.
    pub at: Timestamp,
    /// The device's address.
    pub peer: std::net::SocketAddr,
    /// From a closed list, such as `certificate_required`.
    pub cause: Cow<'static, str>,
    /// Its meaning, in one sentence.
    pub meaning: Cow<'static, str>,
    /// What to do about the cause; [`FailedHandshake::remedy_for`] knows more.
    pub remedy: Cow<'static, str>,
    /// SNI: at most 253 letters, digits, `-`, `_` and `.`.
    pub server_name: Option<Box<str>>,
    /// `1.2` or `1.3`, once negotiated.
    pub tls_version: Option<Cow<'static, str>>,
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
        let Some(NeededCa { name, is_name_known }) = needed else { return self.remedy.clone() };
        let add = format!("certward trust add {deployment} --client-ca FILE");
        match is_name_known {
            false => format!(
                "Add the CA \"{name}\" to the client CAs: {add}; or let the device send its intermediates too."
            ),
            true => format!(
                "A CA \"{name}\" is among the client CAs, but its key did not sign the device's certificate. Have the certificate issued by it, or add the other CA of this name: {add}."
            ),
        }
        .into()
    }
}

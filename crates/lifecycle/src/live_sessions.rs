//! What nodes tell of the devices that are connected to them.

use std::net::{IpAddr, SocketAddr};

use certward_pki::{ClientOffer, ClientRefusal, DeviceId, TlsType};
use certward_store::Timestamp;
use serde::{Deserialize, Serialize};

/// Which sessions of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionFilter {
    /// All.
    All,
    /// Those of devices with these certificates.
    Devices(Vec<DeviceId>),
    /// Those from this address.
    Address(IpAddr),
}

/// A device's connection that its broker has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveSession {
    /// Its certificate, if it sent one and `devices` is `full`.
    pub device: Option<DeviceId>,
    /// As in the certificate.
    pub name: Option<Box<str>>,
    /// The device's address.
    pub address: SocketAddr,
    /// The deployment's host that the device asked for; `None` without one (SNI).
    pub host: Option<Box<str>>,
    /// `mqtts` or `wss`.
    pub listener: String,
    /// `1.2` or `1.3`.
    pub tls_version: String,
    /// When its broker answered.
    pub since: Timestamp,
}

/// Sessions of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsOfNode {
    /// That the filter selects.
    pub total: u64,
    /// The first of them, in no order.
    pub sessions: Vec<LiveSession>,
}

/// What a change of the client trust is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustChange {
    /// In service.
    pub today: ProposedTrust,
    /// In its place.
    pub proposed: ProposedTrust,
}

/// Client trust as it is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedTrust {
    /// One-way or two-way.
    pub tls_type: TlsType,
    /// Client CAs, DER; empty exactly for one-way.
    pub client_cas: Vec<Vec<u8>>,
}

impl ProposedTrust {
    /// Whether it may refuse a device that `before` accepts: it asks for certificates, and a CA of
    /// `before` is gone or none was asked for.
    pub(crate) fn may_refuse_more_than(&self, before: &Self) -> bool {
        let is_gone = |ca: &Vec<u8>| !self.client_cas.contains(ca);
        self.tls_type == TlsType::TwoWay
            && (before.tls_type == TlsType::OneWay || before.client_cas.iter().any(is_gone))
    }
}

/// A node's sessions by the client CA that admits their devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsByClientCa {
    /// How many, in the order of the client CAs asked about: a device counts for the first one that
    /// admits it.
    pub sessions: Vec<u64>,
    /// Whether the node records devices one by one.
    pub records_devices: bool,
}

/// What a node's sessions say of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveEvidence {
    /// Connected devices.
    pub sessions: u64,
    /// Those whose devices are accepted today and would be refused.
    pub refused: u64,
    /// Those of which this is not known: their devices' certificates lead to client CAs in too many
    /// ways.
    pub not_judged: u64,
    /// Devices that would be refused, each once; at most [`NAMED_MAX`].
    pub named: Vec<RejectedDevice>,
    /// Sessions by the deployment's host that they asked for. At most 256.
    pub hosts: Vec<(Box<str>, u64)>,
    /// Sessions by what their ClientHello offered. At most 64; the rest is left out.
    pub offers: Vec<LiveOffer>,
}

impl LiveEvidence {
    /// Names a device, unless it is named already or [`NAMED_MAX`] are.
    pub fn name(&mut self, device: RejectedDevice) {
        if self.named.len() < NAMED_MAX && !self.named.contains(&device) {
            self.named.push(device);
        }
    }
}

/// Sessions whose ClientHello offered the same, weighed as an
/// [`OfferHour`](certward_store::OfferHour).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveOffer {
    /// What they offered.
    pub offer: ClientOffer,
    /// How many.
    pub sessions: u64,
    /// The sum of the weights of their networks, in millionths of a network.
    pub weight: u64,
    /// The largest weight of one of them.
    pub largest: u64,
}

/// Refused devices that are named.
pub const NAMED_MAX: usize = 20;

/// A device that is accepted today and would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedDevice {
    /// Its certificate, if it sent one and `devices` is `full`.
    pub id: Option<DeviceId>,
    /// As in the certificate; its address without an id.
    pub name: Box<str>,
    /// One plain sentence.
    pub reason: Box<str>,
}

impl RejectedDevice {
    /// A device whose certificate is refused.
    pub fn with_certificate(id: impl Into<Option<DeviceId>>, name: Box<str>, refusal: ClientRefusal) -> Self {
        let mut reason = refusal.to_string();
        if let Some(first) = reason.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self { id: id.into(), name, reason: (reason + ".").into() }
    }

    /// A device that was not asked for a certificate yet.
    pub fn without_certificate(address: IpAddr) -> Self {
        Self { id: None, name: address.to_string().into(), reason: "It sent no certificate.".into() }
    }
}

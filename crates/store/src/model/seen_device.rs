use std::{net::IpAddr, sync::Arc, time::Duration};

use certward_pki::{ClientOffer, DeviceCertificate, DeviceId, IssuerPathId};

use crate::{DeploymentId, DeploymentRef, Timestamp};

/// A device that was not seen for so long is forgotten; so are hosts, and what was offered.
pub const DEVICE_KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Addresses of devices that were not seen for so long are.
pub const DEVICE_ADDRESS_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A device with a client certificate, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDevice {
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Identifies its certificate.
    pub id: DeviceId,
    /// As in [`DeviceCertificate`].
    pub name: String,
    /// The certificate's issuer.
    pub issuer: String,
    /// The certificate's serial number.
    pub serial: String,
    /// The certificate's fingerprint.
    pub fingerprint: String,
    /// How it leads to a client CA. `None`: the deployment has too many paths.
    pub path: Option<IssuerPathId>,
    /// The fingerprint of the client CA that admitted it.
    pub client_ca: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// When its broker first answered it.
    pub first_seen_at: Timestamp,
    /// Updated once an hour at most.
    pub last_seen_at: Timestamp,
    /// The deployment's host that it asked for last.
    pub host: Option<String>,
    /// `1.2` or `1.3`.
    pub tls_version: String,
    /// Kept for 7 days.
    pub address: Option<IpAddr>,
}

/// A device whose broker answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSighting {
    /// Its deployment. Nothing is recorded for a later one of the same id.
    pub deployment: DeploymentRef,
    /// Its certificate.
    pub device: Arc<DeviceCertificate>,
    /// When.
    pub at: Timestamp,
    /// The deployment's host that it asked for.
    pub host: Option<Box<str>>,
    /// `1.2` or `1.3`.
    pub tls_version: &'static str,
    /// Its address.
    pub address: IpAddr,
}

/// What ClientHellos of a deployment's devices offered on one node in one hour.
///
/// A network is an IPv4 /24 or an IPv6 /48. Each weighs the same, split by its sessions: a stranger
/// with many connections from one weighs no more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferHour {
    /// Their deployment.
    pub deployment: DeploymentRef,
    /// The day since 1970 (UTC) that the hour belongs to.
    pub day: i64,
    /// What they offered.
    pub offer: ClientOffer,
    /// The most sessions at once, summed over networks.
    pub sessions: u64,
    /// Networks with such a session.
    pub networks: u64,
    /// The sum of their weights, in millionths of a network.
    pub weight: u64,
    /// The largest weight of one of them.
    pub largest: u64,
}

/// What ClientHellos of a deployment's devices offered on one day, on all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferDay {
    /// The day since 1970 (UTC).
    pub day: i64,
    /// What they offered.
    pub offer: ClientOffer,
    /// The largest of an hour.
    pub sessions: u64,
    /// The largest of an hour.
    pub networks: u64,
    /// The sum over hours, in millionths of a network.
    pub weight: u64,
    /// The sum over hours of [`OfferHour::largest`].
    pub largest: u64,
    /// The hours with such a session, summed over nodes.
    pub hours: u64,
}

/// A host of a deployment that a device asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSighting {
    /// The deployment.
    pub deployment: DeploymentRef,
    /// One of the deployment's: the wildcard for a name below it, since devices may invent names
    /// without end.
    pub host: Box<str>,
    /// When.
    pub at: Timestamp,
}

/// A host of a deployment that devices ask for, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInUse {
    /// As in [`HostSighting`].
    pub host: Box<str>,
    /// When a device last asked for it.
    pub at: Timestamp,
}

/// What a node has seen since its last batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceBatch {
    /// Each device at most once.
    pub devices: Vec<DeviceSighting>,
    /// Hours that are over.
    pub offers: Vec<OfferHour>,
    /// Each host at most once.
    pub hosts: Vec<HostSighting>,
}

//! The sessions of a deployment on this node: listed, and ended.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use certward_lifecycle::{LiveSession, SessionFilter, SessionsOfNode};
use certward_pki::{DenyKey, DenyKeys, DeviceId};
use certward_store::DeploymentId;

use crate::{
    DevicesKept,
    session::{
        registry::{ConnectionSignal, Registry},
        session_facts::SessionFacts,
    },
};

/// The newest first. `None`: the filter is by device, and none is identified.
pub(crate) fn sessions(
    registry: &Registry,
    kept: DevicesKept,
    deployment: &DeploymentId,
    filter: &SessionFilter,
    limit: usize,
) -> Option<SessionsOfNode> {
    let filter = SelectedSessions::new(filter, kept)?;
    let mut listed = SessionsOfNode::default();
    registry.visit(deployment, |live| {
        if let Some(facts) = live.facts().filter(|facts| filter.selects(facts)) {
            listed.total += 1;
            if listed.sessions.len() < limit {
                listed.sessions.push(shown(facts, kept));
            }
        }
    });
    Some(listed)
}

/// Each device once, however many sessions it has. `None`: none is identified.
pub(crate) fn connected(
    registry: &Registry,
    kept: DevicesKept,
    deployment: &DeploymentId,
    devices: &[DeviceId],
) -> Option<Vec<DeviceId>> {
    if kept != DevicesKept::Full {
        return None;
    }
    let mut absent: HashSet<DeviceId> = devices.iter().copied().collect();
    let mut connected = Vec::new();
    registry.visit(deployment, |live| {
        let device = live.facts().and_then(|facts| facts.device.as_ref());
        connected.extend(device.and_then(|device| absent.take(&device.id)));
    });
    Some(connected)
}

/// Returns how many. `None` as of [`sessions`].
pub(crate) fn close_sessions(
    registry: &Registry,
    kept: DevicesKept,
    deployment: &DeploymentId,
    filter: &SessionFilter,
) -> Option<u64> {
    let filter = SelectedSessions::new(filter, kept)?;
    let mut closed = 0;
    registry.visit(deployment, |live| {
        if live.facts().is_some_and(|facts| filter.selects(facts)) {
            live.send(ConnectionSignal::Requested);
            closed += 1;
        }
    });
    Some(closed)
}

/// How many sessions each key finds, whether or not their brokers have accepted them.
pub(crate) fn denied(registry: &Registry, deployment: &DeploymentId, keys: &[DenyKey]) -> Vec<u64> {
    let mut counts: HashMap<DenyKey, u64> = keys.iter().map(|key| (*key, 0)).collect();
    registry.visit(deployment, |live| {
        let keys = live.client.as_ref().and_then(|client| client.keys.as_ref());
        for key in keys.into_iter().flat_map(DenyKeys::iter) {
            if let Some(count) = counts.get_mut(key) {
                *count += 1;
            }
        }
    });
    keys.iter().map(|key| counts[key]).collect()
}

enum SelectedSessions {
    All,
    Devices(HashSet<DeviceId>),
    Address(IpAddr),
}

impl SelectedSessions {
    /// `None`: no device is identified.
    fn new(filter: &SessionFilter, kept: DevicesKept) -> Option<Self> {
        match filter {
            SessionFilter::All => Some(Self::All),
            SessionFilter::Address(address) => Some(Self::Address(address.to_canonical())),
            SessionFilter::Devices(devices) if kept == DevicesKept::Full => {
                Some(Self::Devices(devices.iter().copied().collect()))
            }
            SessionFilter::Devices(_) => None,
        }
    }

    fn selects(&self, facts: &SessionFacts) -> bool {
        match self {
            Self::All => true,
            Self::Devices(devices) => {
                facts.device.as_ref().is_some_and(|device| devices.contains(&device.id))
            }
            Self::Address(address) => facts.address.ip().to_canonical() == *address,
        }
    }
}

fn shown(facts: &SessionFacts, kept: DevicesKept) -> LiveSession {
    let device = facts.device.as_ref().filter(|_| kept == DevicesKept::Full);
    LiveSession {
        device: device.map(|device| device.id),
        name: device.map(|device| device.name.clone()),
        address: facts.canonical_address(),
        host: facts.host.clone(),
        listener: facts.protocol.as_str().to_owned(),
        tls_version: facts.tls_version.to_owned(),
        since: facts.since,
    }
}

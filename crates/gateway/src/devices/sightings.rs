//! What waits to be written: devices, hosts and hours of offers.
//!
//! A device or host is noted once an hour at most. All is bounded; what is over is counted. While
//! the store is away, what waits stays.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use certward_pki::{DeviceCertificate, DeviceId};
use certward_store::{DeploymentId, DeviceBatch, DeviceSighting, HostSighting, OfferHour, Timestamp};
use parking_lot::Mutex;

use crate::{
    observe::{metrics::Metrics, reason::Unrecorded},
    session::session_facts::SessionFacts,
};

/// Between two notes of a device or host.
const NOTED_INTERVAL: Duration = Duration::from_secs(3600);
/// In the last hour: as many as the store keeps. 24 bytes each.
const NOTED_MAX: usize = 1_000_000;
/// About 0.3 KiB each.
const DEVICES_WAITING_MAX: usize = 20_000;
const HOSTS_WAITING_MAX: usize = 10_000;
/// About 0.4 KiB each.
const OFFERS_WAITING_MAX: usize = 10_000;
/// Written in one transaction, which a change of a deployment waits for.
const BATCH_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Sightings {
    key: RandomState,
    waiting: Mutex<Waiting>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    devices: HashMap<(DeploymentId, DeviceId), DeviceSighting>,
    hosts: HashMap<(DeploymentId, Box<str>), Timestamp>,
    offers: Vec<OfferHour>,
    /// By a hash of deployment and device or host. Two that share one are noted as one.
    noted: HashMap<u64, Timestamp>,
}

impl Sightings {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { key: RandomState::new(), waiting: Mutex::default(), metrics }
    }

    pub(crate) fn note_device(
        &self,
        deployment: &DeploymentId,
        device: &Arc<DeviceCertificate>,
        facts: &SessionFacts,
        now: Timestamp,
    ) {
        let hash = self.key.hash_one((deployment, device.id));
        let mut waiting = self.waiting.lock();
        if !waiting.is_due(hash, now) {
            return;
        }
        if waiting.devices.len() >= DEVICES_WAITING_MAX || waiting.noted.len() >= NOTED_MAX {
            return self.metrics.not_recorded(Unrecorded::Device, 1);
        }
        waiting.noted.insert(hash, now);
        let sighting = DeviceSighting {
            deployment: deployment.clone(),
            device: Arc::clone(device),
            at: now,
            host: facts.host.clone(),
            tls_version: facts.tls_version,
            address: facts.address.ip().to_canonical(),
        };
        waiting.devices.insert((deployment.clone(), device.id), sighting);
    }

    pub(crate) fn note_host(&self, deployment: &DeploymentId, host: &str, now: Timestamp) {
        let hash = self.key.hash_one((deployment, host));
        let mut waiting = self.waiting.lock();
        if !waiting.is_due(hash, now) {
            return;
        }
        if waiting.hosts.len() >= HOSTS_WAITING_MAX || waiting.noted.len() >= NOTED_MAX {
            return self.metrics.not_recorded(Unrecorded::Host, 1);
        }
        waiting.noted.insert(hash, now);
        waiting.hosts.insert((deployment.clone(), host.into()), now);
    }

    pub(crate) fn add_offers(&self, hours: Vec<OfferHour>) {
        let mut waiting = self.waiting.lock();
        let room = OFFERS_WAITING_MAX.saturating_sub(waiting.offers.len());
        self.metrics.not_recorded(Unrecorded::Offer, hours.len().saturating_sub(room));
        waiting.offers.extend(hours.into_iter().take(room));
    }

    /// Part of what waits, of one kind: the store writes it as a whole or not at all, so that what
    /// counts is not counted twice. Empty: nothing waits.
    pub(crate) fn take_batch(&self) -> DeviceBatch {
        let mut waiting = self.waiting.lock();
        let Waiting { devices, hosts, offers, .. } = &mut *waiting;
        if !offers.is_empty() {
            let offers = offers.split_off(offers.len().saturating_sub(BATCH_MAX));
            return DeviceBatch { offers, ..DeviceBatch::default() };
        }
        if !hosts.is_empty() {
            let hosts =
                take_some(hosts).map(|((deployment, host), at)| HostSighting { deployment, host, at });
            return DeviceBatch { hosts: hosts.collect(), ..DeviceBatch::default() };
        }
        let taken = take_some(devices).map(|(_, sighting)| sighting).collect();
        if devices.is_empty() {
            // After a burst.
            devices.shrink_to(BATCH_MAX);
        }
        DeviceBatch { devices: taken, ..DeviceBatch::default() }
    }

    /// It was not written. What was seen since is newer.
    pub(crate) fn put_back(&self, batch: DeviceBatch) {
        let DeviceBatch { devices, offers, hosts } = batch;
        self.add_offers(offers);
        let mut waiting = self.waiting.lock();
        let (mut lost_devices, mut lost_hosts) = (0, 0);
        for sighting in devices {
            let key = (sighting.deployment.clone(), sighting.device.id);
            let is_full = waiting.devices.len() >= DEVICES_WAITING_MAX;
            lost_devices += usize::from(!put_back(waiting.devices.entry(key), sighting, is_full));
        }
        for HostSighting { deployment, host, at } in hosts {
            let is_full = waiting.hosts.len() >= HOSTS_WAITING_MAX;
            lost_hosts += usize::from(!put_back(waiting.hosts.entry((deployment, host)), at, is_full));
        }
        self.metrics.not_recorded(Unrecorded::Device, lost_devices);
        self.metrics.not_recorded(Unrecorded::Host, lost_hosts);
    }

    /// Forgets what may be noted again.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut waiting = self.waiting.lock();
        waiting.noted.retain(|_, noted| !is_over(*noted, now));
        let kept = waiting.noted.len();
        waiting.noted.shrink_to(2 * kept);
    }

    /// Those noted in the last hour, and those that wait.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.noted.len(), waiting.devices.len() + waiting.hosts.len() + waiting.offers.len())
    }
}

impl Waiting {
    fn is_due(&self, hash: u64, now: Timestamp) -> bool {
        self.noted.get(&hash).is_none_or(|noted| is_over(*noted, now))
    }
}

/// Also if the clock was set back.
fn is_over(noted: Timestamp, now: Timestamp) -> bool {
    now < noted || now.since(noted) >= NOTED_INTERVAL
}

fn take_some<K, V>(map: &mut HashMap<K, V>) -> impl Iterator<Item = (K, V)>
where
    K: Eq + std::hash::Hash,
{
    let mut left = BATCH_MAX;
    map.extract_if(move |_, _| {
        let takes = left > 0;
        left -= usize::from(takes);
        takes
    })
}

/// `false`: there is no room.
fn put_back<K, V>(entry: Entry<'_, K, V>, value: V, is_full: bool) -> bool {
    match entry {
        Entry::Occupied(_) => true,
        Entry::Vacant(_) if is_full => false,
        Entry::Vacant(entry) => {
            entry.insert(value);
            true
        }
    }
}

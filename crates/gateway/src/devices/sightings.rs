//! What waits to be written: devices, hosts and hours of offers.
//!
//! A device or host is noted once an hour at most. All is bounded, over all deployments and for
//! each; what is over is counted. While the store is away, what waits stays.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use certward_pki::{DeviceCertificate, DeviceId};
use certward_store::{DeploymentRef, DeviceBatch, DeviceSighting, HostSighting, OfferHour, Timestamp};
use parking_lot::Mutex;

use crate::{
    devices::fair_room::FairRoom,
    observe::{metrics::Metrics, reason::Unrecorded},
    session::session_facts::SessionFacts,
};

/// Between two notes of a device or host.
const NOTED_INTERVAL: Duration = Duration::from_secs(3600);
/// In the last hour: as many as the store keeps, of a deployment too. 32 bytes each.
const NOTED_MAX: usize = 1_000_000;
/// About 0.3 KiB each.
const DEVICES_WAITING_MAX: usize = 100_000;
const HOSTS_WAITING_MAX: usize = 10_000;
/// Written in one transaction, which a change of a deployment waits for.
const BATCH_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Sightings {
    key: RandomState,
    waiting: Mutex<Waiting>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Waiting {
    devices: HashMap<(DeploymentRef, DeviceId), DeviceSighting>,
    device_room: FairRoom,
    hosts: HashMap<(DeploymentRef, Box<str>), Timestamp>,
    host_room: FairRoom,
    offers: Vec<OfferHour>,
    /// By a hash of deployment and device or host. Two that share one are noted as one.
    noted: HashMap<u64, Noted>,
    noted_room: FairRoom,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    at: Timestamp,
    /// A hash.
    deployment: u64,
}

impl Sightings {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { key: RandomState::new(), waiting: Mutex::default(), metrics }
    }

    pub(crate) fn note_device(&self, device: &Arc<DeviceCertificate>, facts: &SessionFacts, now: Timestamp) {
        let deployment = &*facts.deployment;
        let of = self.key.hash_one(deployment);
        let hash = self.key.hash_one((deployment, device.id));
        let mut waiting = self.waiting.lock();
        if !waiting.is_due(hash, now) {
            return;
        }
        if waiting.device_room.is_full_for(of) || waiting.is_noted_full(hash, of) {
            return self.metrics.not_recorded(Unrecorded::Device, 1);
        }
        waiting.note(hash, Noted { at: now, deployment: of });
        let sighting = DeviceSighting {
            deployment: deployment.clone(),
            device: Arc::clone(device),
            at: now,
            host: facts.host.clone(),
            tls_version: facts.tls_version,
            address: facts.address.ip().to_canonical(),
        };
        if waiting.devices.insert((deployment.clone(), device.id), sighting).is_none() {
            waiting.device_room.take(of);
        }
    }

    pub(crate) fn note_host(&self, deployment: &DeploymentRef, host: &str, now: Timestamp) {
        let of = self.key.hash_one(deployment);
        let hash = self.key.hash_one((deployment, host));
        let mut waiting = self.waiting.lock();
        if !waiting.is_due(hash, now) {
            return;
        }
        if waiting.host_room.is_full_for(of) || waiting.is_noted_full(hash, of) {
            return self.metrics.not_recorded(Unrecorded::Host, 1);
        }
        waiting.note(hash, Noted { at: now, deployment: of });
        if waiting.hosts.insert((deployment.clone(), host.into()), now).is_none() {
            waiting.host_room.take(of);
        }
    }

    /// For the session's device and host.
    pub(crate) fn has_room(&self, facts: &SessionFacts) -> bool {
        let of = self.key.hash_one(&*facts.deployment);
        let waiting = self.waiting.lock();
        !waiting.device_room.is_full_for(of) && !waiting.host_room.is_full_for(of)
    }

    /// Ask it first.
    pub(crate) fn has_room_for_offers(&self) -> bool {
        self.waiting.lock().offers.len() < BATCH_MAX
    }

    pub(crate) fn add_offers(&self, hours: Vec<OfferHour>) {
        self.waiting.lock().offers.extend(hours);
    }

    /// Part of what waits, of one kind: the store writes it as a whole or not at all, so that what
    /// counts is not counted twice. Empty: nothing waits.
    pub(crate) fn take_batch(&self) -> DeviceBatch {
        let mut waiting = self.waiting.lock();
        let Waiting { devices, device_room, hosts, host_room, offers, .. } = &mut *waiting;
        let hash = |deployment: &DeploymentRef| self.key.hash_one(deployment);
        if !offers.is_empty() {
            let offers = offers.split_off(offers.len().saturating_sub(BATCH_MAX));
            return DeviceBatch { offers, ..DeviceBatch::default() };
        }
        if !hosts.is_empty() {
            let hosts = take_some(hosts).map(|((deployment, host), at)| {
                host_room.give_back(hash(&deployment));
                HostSighting { deployment, host, at }
            });
            return DeviceBatch { hosts: hosts.collect(), ..DeviceBatch::default() };
        }
        let taken = take_some(devices).map(|((deployment, _), sighting)| {
            device_room.give_back(hash(&deployment));
            sighting
        });
        let taken = taken.collect();
        if devices.is_empty() {
            // After a burst.
            devices.shrink_to(BATCH_MAX);
            device_room.shrink();
            host_room.shrink();
        }
        DeviceBatch { devices: taken, ..DeviceBatch::default() }
    }

    /// It was not written. What was seen since is newer.
    pub(crate) fn put_back(&self, batch: DeviceBatch) {
        let DeviceBatch { devices, offers, hosts } = batch;
        self.add_offers(offers);
        let mut waiting = self.waiting.lock();
        let waiting = &mut *waiting;
        let (mut lost_devices, mut lost_hosts) = (0, 0);
        for sighting in devices {
            let of = self.key.hash_one(&sighting.deployment);
            let entry = waiting.devices.entry((sighting.deployment.clone(), sighting.device.id));
            lost_devices += usize::from(!put_back(entry, sighting, &mut waiting.device_room, of));
        }
        for HostSighting { deployment, host, at } in hosts {
            let of = self.key.hash_one(&deployment);
            let entry = waiting.hosts.entry((deployment, host));
            lost_hosts += usize::from(!put_back(entry, at, &mut waiting.host_room, of));
        }
        self.metrics.not_recorded(Unrecorded::Device, lost_devices);
        self.metrics.not_recorded(Unrecorded::Host, lost_hosts);
    }

    /// Forgets what may be noted again.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut waiting = self.waiting.lock();
        let Waiting { noted, noted_room, .. } = &mut *waiting;
        for (_, gone) in noted.extract_if(|_, noted| is_over(noted.at, now)) {
            noted_room.give_back(gone.deployment);
        }
        noted.shrink_to(2 * noted.len());
        noted_room.shrink();
    }

    /// Those noted in the last hour, and those that wait.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.noted.len(), waiting.devices.len() + waiting.hosts.len() + waiting.offers.len())
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            devices: HashMap::new(),
            device_room: FairRoom::new(DEVICES_WAITING_MAX),
            hosts: HashMap::new(),
            host_room: FairRoom::new(HOSTS_WAITING_MAX),
            offers: Vec::new(),
            noted: HashMap::new(),
            noted_room: FairRoom::new(NOTED_MAX),
        }
    }
}

impl Waiting {
    fn is_due(&self, hash: u64, now: Timestamp) -> bool {
        self.noted.get(&hash).is_none_or(|noted| is_over(noted.at, now))
    }

    fn is_noted_full(&self, hash: u64, deployment: u64) -> bool {
        !self.noted.contains_key(&hash) && self.noted_room.is_full_for(deployment)
    }

    fn note(&mut self, hash: u64, noted: Noted) {
        if self.noted.insert(hash, noted).is_none() {
            self.noted_room.take(noted.deployment);
        }
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
fn put_back<K, V>(entry: Entry<'_, K, V>, value: V, room: &mut FairRoom, deployment: u64) -> bool {
    match entry {
        Entry::Occupied(_) => true,
        Entry::Vacant(_) if room.is_full_for(deployment) => false,
        Entry::Vacant(entry) => {
            entry.insert(value);
            room.take(deployment);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use certward_pki::{ClientOffer, ClientTrust, DeviceIdentity};
    use certward_store::{DeploymentId, Generation, ProjectId};
    use certward_test_support::Authority;

    use super::*;
    use crate::{Protocol, session::session_facts::OfferCount};

    const MINUTE: Duration = Duration::from_secs(60);

    fn deployment(text: &str, born: i64) -> DeploymentRef {
        let id = DeploymentId::parse(text).unwrap();
        DeploymentRef { id, project: ProjectId::default_project(), born: Generation(born) }
    }

    fn id(text: &str) -> DeploymentRef {
        deployment(text, 1)
    }

    fn device() -> Arc<DeviceCertificate> {
        let ca = Authority::new("clients");
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let chain = [ca.client("thermometer").der.into()];
        Arc::new(DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap())
    }

    /// One with another id.
    fn like(device: &DeviceCertificate, number: u64) -> Arc<DeviceCertificate> {
        let mut other = device.clone();
        other.id.0[..8].copy_from_slice(&number.to_be_bytes());
        Arc::new(other)
    }

    fn facts(deployment: DeploymentRef) -> SessionFacts {
        SessionFacts {
            deployment: Arc::new(deployment),
            device: None,
            address: ([192, 0, 2, 7], 1).into(),
            host: Some("d.test".into()),
            is_below_wildcard: false,
            protocol: Protocol::Mqtts,
            tls_version: "1.3",
            offer: None,
            since: Timestamp(0),
            count: OfferCount::default(),
        }
    }

    fn sightings() -> Sightings {
        Sightings::new(Arc::default())
    }

    fn all(sightings: &Sightings) -> Vec<DeviceBatch> {
        std::iter::repeat_with(|| sightings.take_batch())
            .take_while(|batch| *batch != DeviceBatch::default())
            .collect()
    }

    #[test]
    fn a_device_and_a_host_are_noted_once_an_hour() {
        let (sightings, device, begin) = (sightings(), device(), Timestamp(1_000_000_000));
        for (minutes, is_noted) in [(0, true), (1, false), (59, false), (60, true), (61, false), (300, true)]
        {
            let now = begin.after(MINUTE * minutes);
            sightings.note_device(&device, &facts(id("d")), now);
            sightings.note_host(&id("d"), "d.test", now);
            let batches = all(&sightings);
            let seen: Vec<_> = batches.iter().flat_map(|batch| &batch.devices).map(|seen| seen.at).collect();
            let hosts: Vec<_> = batches.iter().flat_map(|batch| &batch.hosts).map(|seen| seen.at).collect();
            let expected = if is_noted { vec![now] } else { vec![] };
            assert_eq!((&seen, &hosts), (&expected, &expected), "after {minutes} minutes");
        }
        // The clock was set back, another deployment, and a later one of the same id.
        for of in [id("d"), id("other"), deployment("d", 2)] {
            sightings.note_device(&device, &facts(of.clone()), begin);
            let batches = all(&sightings);
            assert_eq!((batches.len(), &batches[0].devices[0].deployment), (1, &of));
        }
        sightings.sweep(begin.after(MINUTE * 310));
        assert_eq!(sightings.sizes().0, 1, "the host, of minute 300");
    }

    #[test]
    fn what_was_not_written_stays_and_what_is_newer_wins() {
        let (sightings, device, begin) = (sightings(), device(), Timestamp(1_000_000_000));
        let hour = OfferHour {
            deployment: id("d"),
            day: 1,
            offer: ClientOffer::default(),
            sessions: 1,
            networks: 1,
            weight: 1,
            largest: 1,
        };
        sightings.note_device(&device, &facts(id("d")), begin);
        sightings.note_device(&like(&device, 1), &facts(id("d")), begin);
        sightings.note_host(&id("d"), "d.test", begin);
        sightings.add_offers(vec![hour.clone()]);
        let taken = all(&sightings);
        assert_eq!(taken.len(), 3, "each kind for itself");
        let later = begin.after(MINUTE * 60);
        sightings.note_device(&device, &facts(id("d")), later);
        taken.into_iter().for_each(|batch| sightings.put_back(batch));
        let batches = all(&sightings);
        assert_eq!(batches[0].offers, [hour]);
        assert_eq!(batches[1].hosts.len(), 1);
        let at = |wanted| batches[2].devices.iter().find(|seen| seen.device.id == wanted).unwrap().at;
        assert_eq!((at(device.id), at(like(&device, 1).id)), (later, begin));
        assert_eq!(all(&sightings), []);
    }

    #[test]
    fn what_waits_is_bounded_written_in_parts_and_the_rest_is_counted() {
        let (sightings, device) = (sightings(), device());
        let now = Timestamp(1_000_000_000);
        let over = 7;
        let own = DEVICES_WAITING_MAX as u64 / 10;
        for number in 0..own + over {
            sightings.note_device(&like(&device, number), &facts(id("d")), now);
        }
        assert_eq!(sightings.metrics.count_of_unrecorded(Unrecorded::Device), over);
        assert!(!sightings.has_room(&facts(id("d"))));
        // Not another's.
        sightings.note_device(&device, &facts(id("other")), now);
        assert!(sightings.has_room(&facts(id("other"))));
        let batches = all(&sightings);
        assert!(batches.iter().all(|batch| batch.devices.len() <= BATCH_MAX));
        let written: usize = batches.iter().map(|batch| batch.devices.len()).sum();
        assert_eq!(written as u64, own + 1);
        // Those left out are still due.
        sightings.note_device(&like(&device, own), &facts(id("d")), now);
        assert_eq!(all(&sightings).len(), 1);
        let more = |of, number| {
            let devices = vec![sighting(of, &like(&device, number), now)];
            DeviceBatch { devices, ..DeviceBatch::default() }
        };
        for (put, lost) in [(batches, 0), (vec![more("d", own + 1), more("other", 1)], 1)] {
            put.into_iter().for_each(|batch| sightings.put_back(batch));
            assert_eq!(sightings.metrics.count_of_unrecorded(Unrecorded::Device), over + lost);
        }
    }

    #[test]
    fn one_deployment_does_not_silence_the_others_for_the_hour() {
        let (sightings, device) = (sightings(), device());
        let now = Timestamp(1_000_000_000);
        let own = NOTED_MAX as u64 / 10;
        for number in 0..=own {
            sightings.note_device(&like(&device, number), &facts(id("d")), now);
            if number % 5_000 == 0 {
                all(&sightings);
            }
        }
        assert_eq!(sightings.metrics.count_of_unrecorded(Unrecorded::Device), 1);
        sightings.note_host(&id("other"), "d.test", now);
        assert_eq!(sightings.metrics.count_of_unrecorded(Unrecorded::Host), 0);
        all(&sightings);
        let later = now.after(NOTED_INTERVAL);
        sightings.sweep(later);
        assert_eq!(sightings.sizes(), (0, 0));
        sightings.note_device(&device, &facts(id("d")), later);
        assert_eq!(all(&sightings).len(), 1, "there is room again");
    }

    fn sighting(of: &str, device: &Arc<DeviceCertificate>, at: Timestamp) -> DeviceSighting {
        DeviceSighting {
            deployment: id(of),
            device: Arc::clone(device),
            at,
            host: None,
            tls_version: "1.3",
            address: [192, 0, 2, 7].into(),
        }
    }
}

//! What ClientHellos of devices offered in an hour, by network.
//!
//! A network (IPv4 /24, IPv6 /48) weighs 1 in an hour, split over its offers by the most sessions
//! at once of each. So a client with many connections of one network weighs no more than one
//! network. Networks are hashed with a random key of the process, and never stored.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
};

use certward_pki::ClientOffer;
use certward_store::{DeploymentId, OfferHour};
use parking_lot::Mutex;

use crate::session::session_facts::SessionFacts;

/// Of a deployment. About 80 bytes each.
const NETWORKS_MAX: usize = 10_000;
/// Of all deployments: 16 MiB.
const NETWORKS_MAX_IN_ALL: usize = 200_000;
/// Of a deployment, as the store keeps of a day.
const OFFERS_MAX: usize = 64;
/// Of a network, so that one cannot fill the deployment's.
const OFFERS_PER_NETWORK_MAX: usize = 16;
/// A network, in the unit of [`OfferHour::weight`].
const WEIGHT: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(crate) struct OfferHours {
    key: RandomState,
    tables: Mutex<OfferTables>,
}

#[derive(Debug, Default)]
struct OfferTables {
    of_deployments: HashMap<DeploymentId, OfferTable>,
    /// Over all deployments.
    networks: usize,
}

#[derive(Debug, Default)]
struct OfferTable {
    offers: Vec<Arc<ClientOffer>>,
    networks: HashMap<NetworkHash, Vec<NetworkOffer>>,
}

type NetworkHash = u64;

#[derive(Debug, Clone, Copy)]
struct NetworkOffer {
    /// Its place in [`OfferTable::offers`].
    offer: u8,
    live: u32,
    /// The most sessions at once in this hour.
    peak: u32,
}

/// A bound is reached: it is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uncounted;

impl OfferHours {
    /// A session begins.
    pub(crate) fn began(
        &self,
        deployment: &DeploymentId,
        address: IpAddr,
        offer: &Arc<ClientOffer>,
    ) -> Result<(), Uncounted> {
        let network = self.network(address);
        let mut tables = self.tables.lock();
        let OfferTables { of_deployments, networks } = &mut *tables;
        let table = of_deployments.entry(deployment.clone()).or_default();
        let is_new = !table.networks.contains_key(&network);
        if is_new && *networks >= NETWORKS_MAX_IN_ALL {
            return Err(Uncounted);
        }
        table.began(network, offer)?;
        *networks += usize::from(is_new);
        Ok(())
    }

    pub(crate) fn ended(&self, deployment: &DeploymentId, facts: &SessionFacts) {
        let (true, Some(offer)) = (facts.is_counted, &facts.offer) else { return };
        let network = self.network(facts.address.ip());
        let mut tables = self.tables.lock();
        let Some(table) = tables.of_deployments.get_mut(deployment) else { return };
        if let Some(counted) = table.counted(network, offer) {
            counted.live = counted.live.saturating_sub(1);
        }
    }

    /// Ends an hour of `day`, and begins the next with the sessions that go on.
    pub(crate) fn end_hour(&self, day: i64) -> Vec<OfferHour> {
        let deployments: Vec<_> = self.tables.lock().of_deployments.keys().cloned().collect();
        // One at a time: sessions begin and end meanwhile.
        deployments.into_iter().flat_map(|deployment| self.end_hour_of(deployment, day)).collect()
    }

    fn end_hour_of(&self, deployment: DeploymentId, day: i64) -> Vec<OfferHour> {
        let mut tables = self.tables.lock();
        let Some(table) = tables.of_deployments.get_mut(&deployment) else { return Vec::new() };
        let before = table.networks.len();
        let hour = table.hour(&deployment, day);
        table.begin_hour();
        let after = table.networks.len();
        tables.networks -= before - after;
        if after == 0 {
            tables.of_deployments.remove(&deployment);
        }
        hour
    }

    /// Networks, over all deployments.
    pub(crate) fn len(&self) -> usize {
        self.tables.lock().networks
    }

    fn network(&self, address: IpAddr) -> NetworkHash {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                self.key.hash_one([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                self.key.hash_one([a, b, c])
            }
        }
    }
}

impl OfferTable {
    fn began(&mut self, network: NetworkHash, offer: &Arc<ClientOffer>) -> Result<(), Uncounted> {
        if let Some(counted) = self.counted(network, offer) {
            counted.live += 1;
            counted.peak = counted.peak.max(counted.live);
            return Ok(());
        }
        let is_full = match self.networks.get(&network) {
            Some(of_network) => of_network.len() >= OFFERS_PER_NETWORK_MAX,
            None => self.networks.len() >= NETWORKS_MAX,
        };
        let place =
            self.place(offer).or_else(|| (self.offers.len() < OFFERS_MAX).then_some(self.offers.len()));
        let (false, Some(place)) = (is_full, place) else { return Err(Uncounted) };
        let Ok(number) = u8::try_from(place) else { return Err(Uncounted) };
        if place == self.offers.len() {
            self.offers.push(Arc::clone(offer));
        }
        let first = NetworkOffer { offer: number, live: 1, peak: 1 };
        self.networks.entry(network).or_insert_with(|| Vec::with_capacity(1)).push(first);
        Ok(())
    }

    fn counted(&mut self, network: NetworkHash, offer: &Arc<ClientOffer>) -> Option<&mut NetworkOffer> {
        let place = self.place(offer)?;
        self.networks.get_mut(&network)?.iter_mut().find(|counted| usize::from(counted.offer) == place)
    }

    fn place(&self, offer: &Arc<ClientOffer>) -> Option<usize> {
        let same = |known: &Arc<ClientOffer>| Arc::ptr_eq(known, offer);
        self.offers.iter().position(same).or_else(|| self.offers.iter().position(|known| known == offer))
    }

    fn hour(&self, deployment: &DeploymentId, day: i64) -> Vec<OfferHour> {
        let empty = |offer: &Arc<ClientOffer>| OfferHour {
            deployment: deployment.clone(),
            day,
            offer: ClientOffer::clone(offer),
            sessions: 0,
            networks: 0,
            weight: 0,
            largest: 0,
        };
        let mut hours: Vec<_> = self.offers.iter().map(empty).collect();
        for of_network in self.networks.values() {
            let peaks: u64 = of_network.iter().map(|counted| u64::from(counted.peak)).sum();
            for counted in of_network {
                let weight = u64::from(counted.peak) * WEIGHT / peaks.max(1);
                let hour = &mut hours[usize::from(counted.offer)];
                hour.sessions += u64::from(counted.peak);
                hour.networks += 1;
                hour.weight += weight;
                hour.largest = hour.largest.max(weight);
            }
        }
        hours
    }

    /// Keeps what is live.
    fn begin_hour(&mut self) {
        let before = std::mem::take(self);
        for (network, mut of_network) in before.networks {
            of_network.retain(|counted| counted.live > 0);
            for counted in &mut of_network {
                let offer = &before.offers[usize::from(counted.offer)];
                counted.peak = counted.live;
                let place = self.place(offer).unwrap_or_else(|| {
                    self.offers.push(Arc::clone(offer));
                    self.offers.len() - 1
                });
                // At most as many as before, each with a number.
                counted.offer = u8::try_from(place).unwrap_or(u8::MAX);
            }
            if !of_network.is_empty() {
                self.networks.insert(network, of_network);
            }
        }
    }
}

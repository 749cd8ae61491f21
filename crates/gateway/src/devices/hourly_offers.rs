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

use crate::{
    devices::{network::ClientNetwork, offer_weight::OfferWeight},
    session::session_facts::SessionFacts,
};

/// Of a deployment. About 80 bytes each.
const NETWORKS_MAX: usize = 10_000;
/// Of all deployments: 16 MiB.
const NETWORKS_MAX_IN_ALL: usize = 200_000;
/// Of a deployment, as the store keeps of a day.
const OFFERS_MAX: usize = 64;
/// Of a network, so that one cannot fill the deployment's.
const OFFERS_PER_NETWORK_MAX: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct HourlyOffers {
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

impl HourlyOffers {
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

    pub(crate) fn deployments(&self) -> Vec<DeploymentId> {
        self.tables.lock().of_deployments.keys().cloned().collect()
    }

    /// Ends a deployment's hour, of `day`, and begins the next with the sessions that go on.
    pub(crate) fn end_hour(&self, deployment: &DeploymentId, day: i64) -> Vec<OfferHour> {
        let mut tables = self.tables.lock();
        let Some(table) = tables.of_deployments.get_mut(deployment) else { return Vec::new() };
        let before = table.networks.len();
        let hour = table.hour(deployment, day);
        table.begin_hour();
        let after = table.networks.len();
        tables.networks -= before - after;
        if after == 0 {
            tables.of_deployments.remove(deployment);
        }
        hour
    }

    /// Networks, over all deployments.
    pub(crate) fn len(&self) -> usize {
        self.tables.lock().networks
    }

    fn network(&self, address: IpAddr) -> NetworkHash {
        self.key.hash_one(ClientNetwork::of(address))
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
        let mut weights = vec![OfferWeight::default(); self.offers.len()];
        for of_network in self.networks.values() {
            let peaks = of_network.iter().map(|counted| u64::from(counted.peak)).sum();
            for counted in of_network {
                weights[usize::from(counted.offer)].add_network(counted.peak.into(), peaks);
            }
        }
        let hour = |(offer, weighed): (&Arc<ClientOffer>, OfferWeight)| {
            let OfferWeight { sessions, networks, weight, largest } = weighed;
            let (deployment, offer) = (deployment.clone(), ClientOffer::clone(offer));
            OfferHour { deployment, day, offer, sessions, networks, weight, largest }
        };
        self.offers.iter().zip(weights).map(hour).collect()
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use certward_store::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{Protocol, devices::offer_weight::WEIGHT};

    fn id() -> DeploymentId {
        DeploymentId::parse("d").unwrap()
    }

    fn offer(number: u16) -> Arc<ClientOffer> {
        Arc::new(ClientOffer { versions: vec![number], ..ClientOffer::default() })
    }

    fn begin(hours: &HourlyOffers, address: impl Into<IpAddr>, number: u16) -> SessionFacts {
        let (address, offer) = (address.into(), offer(number));
        let is_counted = hours.began(&id(), address, &offer).is_ok();
        SessionFacts {
            device: None,
            address: (address, 1883).into(),
            host: None,
            protocol: Protocol::Mqtts,
            tls_version: "1.3",
            offer: Some(offer),
            since: Timestamp(0),
            is_counted,
        }
    }

    /// In network `network`.
    fn address(network: u16, host: u8) -> Ipv4Addr {
        let [high, low] = network.to_be_bytes();
        Ipv4Addr::new(10, high, low, host)
    }

    /// Sessions, networks, weight and largest, by offer.
    fn ended(hours: &HourlyOffers) -> BTreeMap<u16, [u64; 4]> {
        let of = |hour: OfferHour| {
            assert_eq!((hour.deployment, hour.day), (id(), 7));
            (hour.offer.versions[0], [hour.sessions, hour.networks, hour.weight, hour.largest])
        };
        hours.end_hour(&id(), 7).into_iter().map(of).collect()
    }

    #[test]
    fn a_network_weighs_one_and_is_split_by_its_sessions() {
        let hours = HourlyOffers::default();
        let (first, second) = (address(1, 1), address(1, 2));
        let sessions = [(first, 1), (second, 1), (second, 1), (second, 2), (address(2, 1), 1)];
        let live: Vec<_> = sessions.map(|(address, number)| begin(&hours, address, number)).into();
        assert_eq!(hours.len(), 2);
        let expected = BTreeMap::from([(1, [4, 2, 1_750_000, 1_000_000]), (2, [1, 1, 250_000, 250_000])]);
        assert_eq!(ended(&hours), expected);
        // The next hour begins with what goes on.
        hours.ended(&id(), &live[3]);
        assert_eq!(ended(&hours), expected, "offer 2 was live in a part of it");
        assert_eq!(ended(&hours), BTreeMap::from([(1, [4, 2, 2_000_000, 1_000_000])]));
        live.iter().filter(|facts| facts.offer == Some(offer(1))).for_each(|facts| hours.ended(&id(), facts));
        assert_eq!(ended(&hours).len(), 1);
        assert_eq!((ended(&hours), hours.len()), (BTreeMap::new(), 0));
    }

    #[test]
    fn short_sessions_one_after_the_other_count_as_one() {
        let hours = HourlyOffers::default();
        for _ in 0..50 {
            hours.ended(&id(), &begin(&hours, address(1, 1), 1));
        }
        let _longer = begin(&hours, address(1, 2), 2);
        let half = [1, 1, 500_000, 500_000];
        assert_eq!(ended(&hours), BTreeMap::from([(1, half), (2, half)]));
    }

    #[test]
    fn what_exceeds_a_bound_is_not_counted_and_takes_nothing_away() {
        let hours = HourlyOffers::default();
        let max = u16::try_from(OFFERS_PER_NETWORK_MAX).unwrap();
        let of_network: Vec<_> = (0..=max).map(|number| begin(&hours, address(1, 1), number)).collect();
        let refused = of_network.iter().filter(|facts| !facts.is_counted).count();
        assert_eq!(refused, 1, "the offers of a network");
        hours.ended(&id(), of_network.last().unwrap());
        // Three more networks fill the deployment's.
        for network in 2..=4_u16 {
            (0..max).for_each(|number| drop(begin(&hours, address(network, 1), network * 100 + number)));
        }
        assert!(!begin(&hours, address(5, 1), 9_999).is_counted, "the offers of a deployment");
        assert!(begin(&hours, address(5, 1), 0).is_counted, "a known one");
        for network in 5..u16::try_from(NETWORKS_MAX).unwrap() + 1 {
            begin(&hours, address(network, 1), 0);
        }
        assert_eq!(hours.len(), NETWORKS_MAX);
        assert!(!begin(&hours, address(60_000, 1), 0).is_counted, "the networks of a deployment");
        let all = ended(&hours);
        assert_eq!(all.len(), OFFERS_MAX);
        let sum: u64 = all.values().map(|[_, _, weight, _]| weight).sum();
        assert_eq!(sum, WEIGHT * NETWORKS_MAX as u64);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin { network: u16, number: u16 },
        End(prop::sample::Index),
        EndHour,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..4_u16, 0..5_u16).prop_map(|(network, number)| Step::Begin { network, number }),
            4 => any::<prop::sample::Index>().prop_map(Step::End),
            1 => Just(Step::EndHour),
        ];
        proptest::collection::vec(step, 0..80)
    }

    /// Live and peak, by network and offer.
    type Model = BTreeMap<(u16, u16), (u64, u64)>;

    fn ended_of(model: &mut Model) -> BTreeMap<u16, [u64; 4]> {
        let mut all = BTreeMap::<u16, [u64; 4]>::new();
        for ((network, number), (_, peak)) in &*model {
            let of_network = model.iter().filter(|((other, _), _)| other == network);
            let weight = peak * WEIGHT / of_network.map(|(_, (_, peak))| peak).sum::<u64>();
            let [sessions, networks, sum, largest] = all.entry(*number).or_default();
            (*sessions, *networks, *sum) = (*sessions + peak, *networks + 1, *sum + weight);
            *largest = weight.max(*largest);
        }
        model.retain(|_, (live, peak)| {
            *peak = *live;
            *live > 0
        });
        all
    }

    proptest! {
        #[test]
        fn hours_are_those_of_a_plain_model(steps in steps()) {
            let (hours, mut model) = (HourlyOffers::default(), Model::new());
            let mut live = Vec::new();
            for step in steps.into_iter().chain([Step::EndHour, Step::EndHour]) {
                match step {
                    Step::Begin { network, number } => {
                        live.push((network, number, begin(&hours, address(network, 1), number)));
                        let (now, peak) = model.entry((network, number)).or_default();
                        *now += 1;
                        *peak = (*peak).max(*now);
                    }
                    Step::End(at) if !live.is_empty() => {
                        let (network, number, facts) = live.swap_remove(at.index(live.len()));
                        hours.ended(&id(), &facts);
                        model.get_mut(&(network, number)).unwrap().0 -= 1;
                    }
                    Step::End(_) => {}
                    Step::EndHour => prop_assert_eq!(ended(&hours), ended_of(&mut model)),
                }
            }
        }
    }

    proptest! {
        // Each has 10,000 connections.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn many_connections_of_one_network_weigh_no_more_than_one_network(
            strangers in proptest::collection::vec((any::<u8>(), 100..600_u16), 10_000),
            stranger_in_a_devices_network: bool,
            lasts: bool,
        ) {
            let alone = HourlyOffers::default();
            let together = HourlyOffers::default();
            for hours in [&alone, &together] {
                // 50 devices of 50 networks, of which 5 offer something else.
                (0..50_u16).for_each(|device| drop(begin(hours, address(device, 9), u16::from(device % 10 == 0))));
            }
            let network = if stranger_in_a_devices_network { 3 } else { 1000 };
            for (host, number) in strangers {
                let facts = begin(&together, address(network, host), number);
                if !lasts {
                    together.ended(&id(), &facts);
                }
            }
            let (alone, mut together) = (ended(&alone), ended(&together));
            for (number, [_, _, before, _]) in alone {
                let [_, _, after, _] = together.remove(&number).unwrap();
                prop_assert!(before.abs_diff(after) <= u64::from(stranger_in_a_devices_network) * WEIGHT);
            }
            let of_strangers: u64 = together.values().map(|[_, _, weight, _]| weight).sum();
            prop_assert!(of_strangers <= WEIGHT);
        }
    }
}

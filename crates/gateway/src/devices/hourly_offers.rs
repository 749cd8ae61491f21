//! What ClientHellos of devices offered in an hour, by network.
//!
//! A network (IPv4 /24, IPv6 /48) weighs 1 in an hour, split over its offers by the most sessions
//! at once of each. So a client with many connections of one network weighs no more than one
//! network. Networks are hashed with a random key of the process, and never stored.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use certward_pki::ClientOffer;
use certward_store::{DeploymentRef, OFFERS_A_DAY_MAX, OfferHour};
use parking_lot::Mutex;

use crate::{
    devices::{network::ClientNetwork, offer_weight::OfferWeight},
    session::session_facts::SessionFacts,
};

/// Of a deployment. About 80 bytes each.
const NETWORKS_MAX: usize = 10_000;
/// Of all deployments: 16 MiB.
const NETWORKS_MAX_IN_ALL: usize = 200_000;
/// Of a deployment with more than [`NETWORKS_FEW`]: one cannot keep the others out.
const NETWORKS_MAX_IN_ALL_OF_MANY: usize = 160_000;
const NETWORKS_FEW: usize = 200;
/// Of a deployment: so many that a stranger with a few networks does not fill it. Of an hour that
/// is over, the heaviest [`OFFERS_A_DAY_MAX`] are kept.
const OFFERS_MAX: usize = 2_048;
/// Of a network, so that one cannot fill the deployment's.
const OFFERS_PER_NETWORK_MAX: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct HourlyOffers {
    key: RandomState,
    tables: Mutex<OfferTables>,
}

#[derive(Debug, Default)]
struct OfferTables {
    of_deployments: HashMap<Arc<DeploymentRef>, OfferTable>,
    /// Over all deployments.
    networks: usize,
}

#[derive(Debug, Default)]
struct OfferTable {
    offers: Vec<Arc<ClientOffer>>,
    /// In `offers`.
    places: HashMap<Arc<ClientOffer>, u16>,
    networks: HashMap<NetworkHash, Vec<NetworkOffer>>,
}

type NetworkHash = u64;

#[derive(Debug, Clone, Copy)]
struct NetworkOffer {
    /// Its place in [`OfferTable::offers`].
    offer: u16,
    live: u32,
    /// The most sessions at once in this hour.
    peak: u32,
}

/// An hour that is over, not weighed yet.
#[derive(Debug, Default)]
struct UnweighedHour {
    offers: Vec<Arc<ClientOffer>>,
    /// The place and the peak of each offer of each network: networks one after the other.
    peaks: Vec<(u16, u32)>,
    /// How many peaks each network has.
    networks: Vec<u16>,
}

/// Of a deployment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EndedHour {
    /// The heaviest first.
    pub(crate) offers: Vec<OfferHour>,
    /// Of lighter offers.
    pub(crate) sessions_left_out: usize,
}

/// A bound is reached: it is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uncounted;

impl HourlyOffers {
    /// A session begins, or goes on and was not counted before.
    pub(crate) fn began(&self, facts: &SessionFacts) -> Result<(), Uncounted> {
        let Some(offer) = &facts.offer else { return Ok(()) };
        let network = self.network(facts);
        let mut tables = self.tables.lock();
        if facts.count.is_counted() || facts.count.is_over() {
            return Ok(());
        }
        let OfferTables { of_deployments, networks } = &mut *tables;
        if !of_deployments.contains_key(&facts.deployment) && *networks >= NETWORKS_MAX_IN_ALL {
            return Err(Uncounted);
        }
        let table = of_deployments.entry(Arc::clone(&facts.deployment)).or_default();
        let is_new = !table.networks.contains_key(&network);
        let has_few = table.networks.len() < NETWORKS_FEW;
        let max = if has_few { NETWORKS_MAX_IN_ALL } else { NETWORKS_MAX_IN_ALL_OF_MANY };
        if is_new && *networks >= max {
            return Err(Uncounted);
        }
        table.began(network, offer)?;
        *networks += usize::from(is_new);
        facts.count.begin();
        Ok(())
    }

    pub(crate) fn ended(&self, facts: &SessionFacts) {
        let Some(offer) = &facts.offer else { return };
        let network = self.network(facts);
        let mut tables = self.tables.lock();
        let was_counted = facts.count.is_counted();
        facts.count.end();
        let table = tables.of_deployments.get_mut(&facts.deployment).filter(|_| was_counted);
        if let Some(counted) = table.and_then(|table| table.counted(network, offer)) {
            counted.live = counted.live.saturating_sub(1);
        }
    }

    pub(crate) fn deployments(&self) -> Vec<Arc<DeploymentRef>> {
        self.tables.lock().of_deployments.keys().cloned().collect()
    }

    /// Ends a deployment's hour, of `day`, and begins the next with the sessions that go on.
    pub(crate) fn end_hour(&self, deployment: &DeploymentRef, day: i64) -> EndedHour {
        // Weighed outside the lock, which sessions that begin and end take.
        self.next_hour(deployment).weigh(deployment, day)
    }

    fn next_hour(&self, deployment: &DeploymentRef) -> UnweighedHour {
        let mut tables = self.tables.lock();
        let Some(table) = tables.of_deployments.get_mut(deployment) else { return UnweighedHour::default() };
        let before = table.networks.len();
        let hour = table.next_hour();
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

    fn network(&self, facts: &SessionFacts) -> NetworkHash {
        self.key.hash_one(ClientNetwork::of(facts.address.ip()))
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
        if is_full {
            return Err(Uncounted);
        }
        let first = NetworkOffer { offer: self.place(offer)?, live: 1, peak: 1 };
        self.networks.entry(network).or_insert_with(|| Vec::with_capacity(1)).push(first);
        Ok(())
    }

    fn counted(&mut self, network: NetworkHash, offer: &Arc<ClientOffer>) -> Option<&mut NetworkOffer> {
        let place = *self.places.get(offer)?;
        self.networks.get_mut(&network)?.iter_mut().find(|counted| counted.offer == place)
    }

    fn place(&mut self, offer: &Arc<ClientOffer>) -> Result<u16, Uncounted> {
        if let Some(place) = self.places.get(offer) {
            return Ok(*place);
        }
        let place = u16::try_from(self.offers.len()).map_err(|_| Uncounted)?;
        if self.offers.len() >= OFFERS_MAX {
            return Err(Uncounted);
        }
        self.offers.push(Arc::clone(offer));
        self.places.insert(Arc::clone(offer), place);
        Ok(place)
    }

    /// Keeps what is live.
    fn next_hour(&mut self) -> UnweighedHour {
        let offers = std::mem::take(&mut self.offers);
        self.places.clear();
        let mut next_places: Vec<Option<u16>> = vec![None; offers.len()];
        let (mut peaks, mut networks) = (Vec::new(), Vec::new());
        self.networks.retain(|_, of_network| {
            networks.push(u16::try_from(of_network.len()).unwrap_or(u16::MAX));
            of_network.retain_mut(|counted| {
                peaks.push((counted.offer, counted.peak));
                counted.peak = counted.live;
                let place = usize::from(counted.offer);
                if counted.live > 0 {
                    counted.offer = *next_places[place].get_or_insert_with(|| {
                        // At most as many as before, each with a number.
                        let next = u16::try_from(self.offers.len()).unwrap_or(u16::MAX);
                        self.offers.push(Arc::clone(&offers[place]));
                        self.places.insert(Arc::clone(&offers[place]), next);
                        next
                    });
                }
                counted.live > 0
            });
            !of_network.is_empty()
        });
        UnweighedHour { offers, peaks, networks }
    }
}

impl UnweighedHour {
    fn weigh(self, deployment: &DeploymentRef, day: i64) -> EndedHour {
        let mut weights = vec![OfferWeight::default(); self.offers.len()];
        let mut rest = self.peaks.as_slice();
        for count in self.networks {
            let (of_network, others) = rest.split_at(count.into());
            let sessions = of_network.iter().map(|(_, peak)| u64::from(*peak)).sum();
            for (place, peak) in of_network {
                weights[usize::from(*place)].add_network((*peak).into(), sessions);
            }
            rest = others;
        }
        let hour = |(offer, weighed): (&Arc<ClientOffer>, OfferWeight)| {
            let OfferWeight { sessions, networks, weight, largest } = weighed;
            let (deployment, offer) = (deployment.clone(), ClientOffer::clone(offer));
            OfferHour { deployment, day, offer, sessions, networks, weight, largest }
        };
        let mut weighed: Vec<_> = self.offers.iter().zip(weights).collect();
        weighed.sort_by_key(|(_, weighed)| std::cmp::Reverse(weighed.weight));
        let left_out = weighed.split_off(weighed.len().min(OFFERS_A_DAY_MAX));
        let sessions_left_out: u64 = left_out.iter().map(|(_, weighed)| weighed.sessions).sum();
        EndedHour {
            offers: weighed.into_iter().map(hour).collect(),
            sessions_left_out: usize::try_from(sessions_left_out).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use std::net::IpAddr;

    use certward_store::{DeploymentId, Generation, ProjectId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::{Protocol, devices::offer_weight::WEIGHT, session::session_facts::OfferCount};

    fn deployment(born: i64) -> Arc<DeploymentRef> {
        Arc::new(DeploymentRef {
            id: DeploymentId::parse("d").unwrap(),
            project: ProjectId::default_project(),
            born: Generation(born),
        })
    }

    fn offer(number: u16) -> Arc<ClientOffer> {
        Arc::new(ClientOffer { versions: vec![number], ..ClientOffer::default() })
    }

    fn facts(address: impl Into<IpAddr>, number: u16) -> SessionFacts {
        SessionFacts {
            deployment: deployment(1),
            device: None,
            address: (address.into(), 1883).into(),
            host: None,
            is_below_wildcard: false,
            protocol: Protocol::Mqtts,
            tls_version: "1.3",
            offer: Some(offer(number)),
            since: Timestamp(0),
            count: OfferCount::default(),
        }
    }

    fn begin(hours: &HourlyOffers, address: impl Into<IpAddr>, number: u16) -> SessionFacts {
        let facts = facts(address, number);
        assert_eq!(hours.began(&facts).is_ok(), facts.count.is_counted());
        facts
    }

    /// In network `network`.
    fn address(network: u16, host: u8) -> Ipv4Addr {
        let [high, low] = network.to_be_bytes();
        Ipv4Addr::new(10, high, low, host)
    }

    /// Sessions, networks, weight and largest, by offer.
    fn ended(hours: &HourlyOffers) -> BTreeMap<u16, [u64; 4]> {
        let of = |hour: OfferHour| {
            assert_eq!((&hour.deployment, hour.day), (&*deployment(1), 7));
            (hour.offer.versions[0], [hour.sessions, hour.networks, hour.weight, hour.largest])
        };
        hours.end_hour(&deployment(1), 7).offers.into_iter().map(of).collect()
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
        hours.ended(&live[3]);
        assert_eq!(ended(&hours), expected, "offer 2 was live in a part of it");
        assert_eq!(ended(&hours), BTreeMap::from([(1, [4, 2, 2_000_000, 1_000_000])]));
        live.iter().filter(|facts| facts.offer == Some(offer(1))).for_each(|facts| hours.ended(facts));
        assert_eq!(ended(&hours).len(), 1);
        assert_eq!((ended(&hours), hours.len()), (BTreeMap::new(), 0));
    }

    #[test]
    fn short_sessions_one_after_the_other_count_as_one() {
        let hours = HourlyOffers::default();
        for _ in 0..50 {
            hours.ended(&begin(&hours, address(1, 1), 1));
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
        let refused = of_network.iter().filter(|facts| !facts.count.is_counted()).count();
        assert_eq!(refused, 1, "the offers of a network");
        hours.ended(of_network.last().unwrap());
        // More networks fill the deployment's.
        let networks = u16::try_from(OFFERS_MAX).unwrap() / max;
        for network in 2..=networks {
            (0..max).for_each(|number| drop(begin(&hours, address(network, 1), network * 100 + number)));
        }
        let late = begin(&hours, address(50_000, 1), 9_999);
        assert!(!late.count.is_counted(), "the offers of a deployment");
        assert!(begin(&hours, address(50_000, 1), 0).count.is_counted(), "a known one");
        for network in networks + 1..u16::try_from(NETWORKS_MAX).unwrap() {
            begin(&hours, address(network, 1), 0);
        }
        assert_eq!(hours.len(), NETWORKS_MAX);
        assert!(!begin(&hours, address(60_000, 1), 0).count.is_counted(), "the networks of a deployment");
        let EndedHour { offers, sessions_left_out } = hours.end_hour(&deployment(1), 7);
        // The heaviest are kept: offer 0, and some of those that weigh a sixteenth of a network.
        assert_eq!((offers.len(), sessions_left_out), (OFFERS_A_DAY_MAX, OFFERS_MAX - OFFERS_A_DAY_MAX));
        assert_eq!(offers[0].offer, *offer(0));
        assert!(offers.is_sorted_by_key(|hour| std::cmp::Reverse(hour.weight)));
    }

    #[test]
    fn strangers_of_some_networks_do_not_keep_a_devices_offer_out() {
        let hours = HourlyOffers::default();
        for network in 0..20 {
            (0..16).for_each(|number| drop(begin(&hours, address(network, 1), 1000 + network * 16 + number)));
        }
        let _device = begin(&hours, address(500, 1), 1);
        assert_eq!(ended(&hours)[&1], [1, 1, WEIGHT, WEIGHT], "the heaviest");
    }

    #[test]
    fn a_session_without_room_is_counted_once_there_is_some_and_ends_once() {
        let hours = HourlyOffers::default();
        let max = u16::try_from(OFFERS_PER_NETWORK_MAX).unwrap();
        let before: Vec<_> = (0..max).map(|number| begin(&hours, address(1, 1), number)).collect();
        let (late, over) = (begin(&hours, address(1, 1), 100), begin(&hours, address(1, 1), 101));
        before.iter().for_each(|facts| hours.ended(facts));
        assert_eq!(hours.began(&late), Err(Uncounted), "in this hour");
        ended(&hours);
        hours.ended(&over);
        for facts in [&late, &late, &over] {
            assert_eq!(hours.began(facts), Ok(()));
        }
        assert_eq!((late.count.is_counted(), over.count.is_counted()), (true, false));
        assert_eq!(ended(&hours), BTreeMap::from([(100, [1, 1, WEIGHT, WEIGHT])]));
        hours.ended(&late);
        ended(&hours);
        assert_eq!(hours.len(), 0);
    }

    #[test]
    fn a_later_deployment_of_the_same_id_has_its_own_hour() {
        let hours = HourlyOffers::default();
        let before = begin(&hours, address(1, 1), 1);
        let later = SessionFacts { deployment: deployment(2), ..facts(address(2, 1), 2) };
        hours.began(&later).unwrap();
        assert_eq!(hours.deployments().len(), 2);
        assert_eq!(ended(&hours).into_keys().collect::<Vec<_>>(), [1]);
        let of_later = hours.end_hour(&deployment(2), 7).offers;
        assert_eq!((of_later.len(), &of_later[0].deployment), (1, &*deployment(2)));
        hours.ended(&before);
        ended(&hours);
        assert_eq!(hours.deployments(), [deployment(2)]);
    }

    #[test]
    fn deployments_with_few_networks_are_counted_when_the_others_have_filled_the_table() {
        let hours = HourlyOffers::default();
        let begin = |born, network| {
            let facts = SessionFacts { deployment: deployment(born), ..facts(address(network, 1), 1) };
            hours.began(&facts).is_ok()
        };
        let max = u16::try_from(NETWORKS_MAX).unwrap();
        for born in 1..=16 {
            assert!((0..max).all(|network| begin(born, network)), "{born}");
        }
        assert_eq!(hours.len(), NETWORKS_MAX_IN_ALL_OF_MANY);
        let few = (0..max).filter(|network| begin(17, *network)).count();
        assert_eq!(few, NETWORKS_FEW);
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
                        hours.ended(&facts);
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
                    together.ended(&facts);
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

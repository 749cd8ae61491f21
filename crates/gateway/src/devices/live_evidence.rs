//! What the sessions of a deployment on this node say of a change: the devices that other client
//! CAs would refuse, the hosts that are asked for, and the offers.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

use certward_lifecycle::{LiveEvidence, LiveOffer, NAMED_MAX, ProposedTrust, RejectedDevice};
use certward_pki::{
    ClientChainJudge, ClientOffer, ClientRefusal, ClientTrust, DeviceCertificate, IssuerPathId, TlsType,
};
use certward_store::DeploymentId;
use time::OffsetDateTime;

use crate::{
    DevicesKept,
    devices::{network::ClientNetwork, offer_weight::OfferWeight},
    session::{registry::Registry, session_facts::SessionFacts},
};

/// Some 0.1 ms each.
const PATHS_VERIFIED_MAX: usize = 10_000;
const HOSTS_MAX: usize = 256;
const OFFERS_MAX: usize = 64;

/// Verifies once for each path of issuers. The current trust accepts what is connected.
pub(crate) fn live_evidence(
    registry: &Registry,
    kept: DevicesKept,
    deployment: &DeploymentId,
    proposed: &ProposedTrust,
    now: OffsetDateTime,
) -> LiveEvidence {
    let mut trial = TrustTrial { trust: TrialTrust::new(proposed), paths: HashMap::new(), now };
    let mut evidence = LiveEvidence::default();
    let mut hosts = HashMap::<Box<str>, u64>::new();
    let mut offers = HashMap::new();
    registry.visit(deployment, |live| {
        let Some(facts) = live.facts() else { return };
        evidence.sessions += 1;
        if let Some(host) = facts.host_in_use() {
            count(&mut hosts, &host.into());
        }
        if let Some(offer) = &facts.offer {
            count(&mut offers, &(ClientNetwork::of(facts.address.ip()), Arc::clone(offer)));
        }
        if let Some(refusal) = trial.refusal(facts) {
            evidence.refused += 1;
            if evidence.named.len() < NAMED_MAX {
                evidence.named.push(named(facts, kept, refusal));
            }
        }
    });
    evidence.hosts = hosts.into_iter().collect();
    keep_first(&mut evidence.hosts, HOSTS_MAX, |(_, sessions)| *sessions);
    evidence.offers = weighed(offers);
    keep_first(&mut evidence.offers, OFFERS_MAX, |offer| offer.weight);
    evidence
}

/// Sessions of each network with each offer, as in an hour of [`HourlyOffers`].
///
/// [`HourlyOffers`]: crate::devices::hourly_offers::HourlyOffers
fn weighed(sessions: HashMap<(ClientNetwork, Arc<ClientOffer>), u64>) -> Vec<LiveOffer> {
    let mut networks = HashMap::<ClientNetwork, u64>::new();
    for ((network, _), sessions) in &sessions {
        *networks.entry(*network).or_default() += sessions;
    }
    let mut offers = HashMap::<Arc<ClientOffer>, OfferWeight>::new();
    for ((network, offer), sessions) in sessions {
        let of_network = networks.get(&network).copied().unwrap_or(sessions);
        offers.entry(offer).or_default().add_network(sessions, of_network);
    }
    let live = |(offer, OfferWeight { sessions, weight, largest, .. }): (Arc<ClientOffer>, OfferWeight)| {
        LiveOffer { offer: ClientOffer::clone(&offer), sessions, weight, largest }
    };
    offers.into_iter().map(live).collect()
}

struct TrustTrial {
    trust: TrialTrust,
    /// Why a path is refused.
    paths: HashMap<IssuerPathId, Option<ClientRefusal>>,
    now: OffsetDateTime,
}

enum TrialTrust {
    AnyClient,
    NoClient,
    Cas(ClientChainJudge),
}

enum TrialRefusal {
    NoCertificate,
    Certificate(ClientRefusal),
}

impl TrialTrust {
    fn new(proposed: &ProposedTrust) -> Self {
        if proposed.tls_type == TlsType::OneWay {
            return Self::AnyClient;
        }
        let anchors = proposed.client_cas.iter().map(|der| der.clone().into()).collect();
        let judge = ClientTrust::new(anchors).and_then(|trust| ClientChainJudge::new(&trust));
        judge.map_or(Self::NoClient, Self::Cas)
    }
}

impl TrustTrial {
    /// Why the device would be refused, though it is accepted today.
    fn refusal(&mut self, facts: &SessionFacts) -> Option<TrialRefusal> {
        if matches!(self.trust, TrialTrust::AnyClient) {
            return None;
        }
        let Some(device) = &facts.device else { return Some(TrialRefusal::NoCertificate) };
        // Another is refused today, if it connects again.
        let is_valid = (device.not_before..=device.not_after).contains(&self.now);
        let refusal = if is_valid { self.refusal_of(device) } else { None };
        refusal.map(TrialRefusal::Certificate)
    }

    fn refusal_of(&mut self, device: &DeviceCertificate) -> Option<ClientRefusal> {
        let TrialTrust::Cas(judge) = &self.trust else { return Some(ClientRefusal::UnknownIssuer) };
        let count = self.paths.len();
        match self.paths.entry(device.path.id) {
            Entry::Occupied(known) => *known.get(),
            // As far as is known, it is accepted.
            Entry::Vacant(_) if count >= PATHS_VERIFIED_MAX => None,
            Entry::Vacant(path) => *path.insert(refusal_of_path(judge, device, self.now)),
        }
    }
}

/// The example may have ended while others of its path have not: it is verified as long as it was
/// valid.
fn refusal_of_path(
    judge: &ClientChainJudge,
    device: &DeviceCertificate,
    now: OffsetDateTime,
) -> Option<ClientRefusal> {
    judge.verify(&device.path.example, now.min(device.path.example_not_after)).err()
}

fn named(facts: &SessionFacts, kept: DevicesKept, refusal: TrialRefusal) -> RejectedDevice {
    let unnamed = RejectedDevice::without_certificate(facts.address.ip().to_canonical());
    match (&facts.device, refusal) {
        (Some(device), TrialRefusal::Certificate(refusal)) => {
            let named = RejectedDevice::with_certificate(device.id, device.name.clone(), refusal);
            match kept {
                DevicesKept::Full => named,
                DevicesKept::Counts | DevicesKept::Off => RejectedDevice { reason: named.reason, ..unnamed },
            }
        }
        _ => unnamed,
    }
}

fn count<K: Eq + Hash + Clone>(counts: &mut HashMap<K, u64>, key: &K) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.clone(), 1)),
    }
}

/// The largest first.
fn keep_first<T>(list: &mut Vec<T>, max: usize, amount: impl Fn(&T) -> u64) {
    list.sort_by_key(|item| std::cmp::Reverse(amount(item)));
    list.truncate(max);
}

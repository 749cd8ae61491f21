//! What the sessions of a deployment on this node say of a change: the devices that other client
//! CAs would refuse, the hosts that are asked for, and the offers.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

use certward_lifecycle::{LiveEvidence, NAMED_MAX, ProposedTrust, RejectedDevice};
use certward_pki::{ClientChainJudge, ClientOffer, ClientTrust, DeviceCertificate, PathId, TlsType};
use certward_store::DeploymentId;
use time::OffsetDateTime;

use crate::{
    DevicesKept,
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
    let mut offers = HashMap::<Arc<ClientOffer>, u64>::new();
    registry.visit(deployment, |live| {
        let Some(facts) = live.facts() else { return };
        evidence.sessions += 1;
        if let Some(host) = &facts.host {
            count(&mut hosts, host);
        }
        if let Some(offer) = &facts.offer {
            count(&mut offers, offer);
        }
        if let Some(reason) = trial.refusal(facts) {
            evidence.refused += 1;
            if evidence.named.len() < NAMED_MAX {
                evidence.named.push(named(facts, kept, reason));
            }
        }
    });
    evidence.hosts = most(hosts, HOSTS_MAX);
    let offers = most(offers, OFFERS_MAX).into_iter();
    evidence.offers = offers.map(|(offer, sessions)| (ClientOffer::clone(&offer), sessions)).collect();
    evidence
}

struct TrustTrial {
    trust: TrialTrust,
    /// Why a path is refused.
    paths: HashMap<PathId, Option<Box<str>>>,
    now: OffsetDateTime,
}

enum TrialTrust {
    AnyClient,
    NoClient,
    Cas(ClientChainJudge),
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
    fn refusal(&mut self, facts: &SessionFacts) -> Option<Box<str>> {
        let Some(device) = &facts.device else {
            return match self.trust {
                TrialTrust::AnyClient => None,
                TrialTrust::NoClient | TrialTrust::Cas(_) => Some("it sends no client certificate".into()),
            };
        };
        // Another is refused today, if it connects again.
        if !(device.not_before..=device.not_after).contains(&self.now) {
            return None;
        }
        match &self.trust {
            TrialTrust::AnyClient => None,
            TrialTrust::NoClient => Some("no client CA is usable".into()),
            TrialTrust::Cas(judge) => {
                let count = self.paths.len();
                match self.paths.entry(device.path.id) {
                    Entry::Occupied(known) => known.get().clone(),
                    // As far as is known, it is accepted.
                    Entry::Vacant(_) if count >= PATHS_VERIFIED_MAX => None,
                    Entry::Vacant(path) => path.insert(refusal_of_path(judge, device, self.now)).clone(),
                }
            }
        }
    }
}

/// The example may have ended while others of its path have not: it is verified as long as it was
/// valid.
fn refusal_of_path(
    judge: &ClientChainJudge,
    device: &DeviceCertificate,
    now: OffsetDateTime,
) -> Option<Box<str>> {
    let path = &device.path;
    let refusal = judge.verify(&path.example, now.min(path.example_not_after)).err()?;
    Some(refusal.to_string().into())
}

fn named(facts: &SessionFacts, kept: DevicesKept, reason: Box<str>) -> RejectedDevice {
    let device = facts.device.as_ref().filter(|_| kept == DevicesKept::Full);
    let name =
        device.map_or_else(|| facts.canonical_address().to_string().into(), |device| device.name.clone());
    RejectedDevice { id: device.map(|device| device.id), name, reason }
}

fn count<K: Eq + Hash + Clone>(counts: &mut HashMap<K, u64>, key: &K) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.clone(), 1)),
    }
}

/// Those of the most sessions first.
fn most<K: Ord>(counts: HashMap<K, u64>, max: usize) -> Vec<(K, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
    counts.truncate(max);
    counts
}

//! What the sessions of a deployment on this node say of a change: the devices that other client
//! CAs would refuse, the hosts that are asked for, and the offers.

use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use certward_lifecycle::{
    LiveEvidence, LiveOffer, NAMED_MAX, RejectedDevice, TrialVerdict, TrustChange, TrustTrial,
};
use certward_pki::{ClientOffer, DeviceCertificate, DeviceId, IssuerPath, IssuerPathId};
use certward_store::DeploymentId;
use time::OffsetDateTime;

use crate::{
    DevicesKept,
    devices::{network::ClientNetwork, offer_weight::OfferWeight},
    session::{registry::Registry, session_facts::SessionFacts},
};

/// Verifying: an asker waits a second for all that a node is asked.
pub(crate) const VERIFY_FOR: Duration = Duration::from_millis(200);
const HOSTS_MAX: usize = 256;
const OFFERS_MAX: usize = 64;

/// Verifies once for each path of issuers, for `verify_for` at most.
pub(crate) fn live_evidence(
    registry: &Registry,
    kept: DevicesKept,
    deployment: &DeploymentId,
    change: &TrustChange,
    now: OffsetDateTime,
    verify_for: Duration,
) -> LiveEvidence {
    let mut trial = SessionTrial::new(change, kept, now);
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
        trial.add(facts, &mut evidence);
    });
    trial.judge(verify_for, &mut evidence);
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

/// Whom of the connected devices a change refuses.
struct SessionTrial {
    trial: TrustTrial,
    kept: DevicesKept,
    now: OffsetDateTime,
    /// Of devices with a certificate that is valid.
    paths: HashMap<IssuerPathId, SessionsOfPath>,
}

struct SessionsOfPath {
    path: Arc<IssuerPath>,
    sessions: u64,
    /// Some devices, as they may be named.
    some: Vec<(Option<DeviceId>, Box<str>)>,
}

impl SessionTrial {
    fn new(change: &TrustChange, kept: DevicesKept, now: OffsetDateTime) -> Self {
        Self { trial: TrustTrial::new(change), kept, now, paths: HashMap::new() }
    }

    fn add(&mut self, facts: &SessionFacts, evidence: &mut LiveEvidence) {
        if !self.trial.may_refuse() {
            return;
        }
        let address = facts.canonical_address().ip();
        match &facts.device {
            Some(device) if (device.not_before..=device.not_after).contains(&self.now) => {
                let new = || SessionsOfPath { path: Arc::clone(&device.path), sessions: 0, some: Vec::new() };
                self.paths.entry(device.path.id).or_insert_with(new).add(device, address, self.kept);
            }
            // It is refused today, if it connects again.
            Some(_) => (),
            None if self.trial.accepts_any_client_today() => {
                evidence.refused += 1;
                evidence.name(RejectedDevice::without_certificate(address));
            }
            None => evidence.not_judged += 1,
        }
    }

    /// Paths of many sessions first: a device can invent paths, but hardly sessions of others.
    fn judge(self, verify_for: Duration, evidence: &mut LiveEvidence) {
        let mut paths: Vec<_> = self.paths.into_values().collect();
        paths.sort_by_key(|path| Reverse(path.sessions));
        let until = Instant::now() + verify_for;
        for SessionsOfPath { path, sessions, some } in paths {
            if Instant::now() >= until {
                evidence.not_judged += sessions;
            } else if let TrialVerdict::Refused(refusal) = self.trial.judge(&path, self.now) {
                evidence.refused += sessions;
                for (id, name) in some {
                    evidence.name(RejectedDevice::with_certificate(id, name, refusal));
                }
            }
        }
    }
}

impl SessionsOfPath {
    fn add(&mut self, device: &DeviceCertificate, address: IpAddr, kept: DevicesKept) {
        self.sessions += 1;
        if self.some.len() >= NAMED_MAX {
            return;
        }
        let shown = match kept {
            DevicesKept::Full => (Some(device.id), device.name.clone()),
            DevicesKept::Counts | DevicesKept::Off => (None, address.to_string().into()),
        };
        if !self.some.contains(&shown) {
            self.some.push(shown);
        }
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
    list.sort_by_key(|item| Reverse(amount(item)));
    list.truncate(max);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use certward_lifecycle::ProposedTrust;
    use certward_pki::{ClientTrust, DeviceIdentity, TlsType};
    use certward_store::{DeploymentRef, Generation, ProjectId, Timestamp};
    use certward_test_support::{Authority, Leaf};

    use super::*;
    use crate::{Protocol, session::session_facts::OfferCount};

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn session(device: Option<Arc<DeviceCertificate>>, address: [u8; 4]) -> SessionFacts {
        let id = DeploymentId::parse("d").unwrap();
        SessionFacts {
            deployment: Arc::new(DeploymentRef {
                id,
                project: ProjectId::default_project(),
                born: Generation(1),
            }),
            device,
            address: SocketAddr::from((address, 50_000)),
            host: None,
            is_below_wildcard: false,
            protocol: Protocol::Mqtts,
            tls_version: "1.3",
            offer: None,
            since: NOW,
            count: OfferCount::default(),
        }
    }

    fn device(leaf: &Leaf, ca: &Authority) -> Arc<DeviceCertificate> {
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let chain: Vec<_> =
            [&leaf.der].into_iter().chain(&leaf.intermediates).map(|der| der.clone().into()).collect();
        Arc::new(DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap())
    }

    fn two_way(cas: &[&Authority]) -> ProposedTrust {
        let client_cas = cas.iter().map(|ca| ca.der().to_vec()).collect();
        ProposedTrust { tls_type: TlsType::TwoWay, client_cas }
    }

    fn one_way() -> ProposedTrust {
        ProposedTrust { tls_type: TlsType::OneWay, client_cas: Vec::new() }
    }

    fn evidence(
        (today, proposed): (ProposedTrust, ProposedTrust),
        sessions: &[SessionFacts],
        verify_for: Duration,
    ) -> LiveEvidence {
        let (change, mut evidence) = (TrustChange { today, proposed }, LiveEvidence::default());
        let mut trial = SessionTrial::new(&change, DevicesKept::Full, NOW.to_time());
        sessions.iter().for_each(|facts| trial.add(facts, &mut evidence));
        trial.judge(verify_for, &mut evidence);
        evidence
    }

    #[test]
    fn only_what_is_accepted_today_can_be_refused_by_a_change() {
        let (ca, other) = (Authority::new("clients"), Authority::new("other"));
        let ended =
            ca.intermediate_with("ended", |params| params.not_after = NOW.before(VERIFY_FOR).to_time());
        let sessions = [
            session(Some(device(&ca.client("a"), &ca)), [192, 0, 2, 1]),
            session(Some(device(&ended.client("b"), &ca)), [192, 0, 2, 2]),
            session(Some(device(&other.client("c"), &other)), [192, 0, 2, 3]),
        ];
        let judged = |today, proposed| {
            let judged = evidence((today, proposed), &sessions, VERIFY_FOR * 1_000);
            let named = judged.named.iter().map(|device| device.name.to_string()).collect::<Vec<_>>();
            (judged.refused, judged.not_judged, named.join(" "))
        };
        let unaffected = (0, 0, String::new());
        assert_eq!(judged(two_way(&[&ca]), two_way(&[&ca])), unaffected);
        assert_eq!(judged(two_way(&[&ca]), two_way(&[&other, &ca])), unaffected);
        assert_eq!(judged(two_way(&[&ca]), one_way()), unaffected);
        // The intermediate has ended: refused today too.
        assert_eq!(judged(two_way(&[&ca]), two_way(&[&other])), (1, 0, "a".to_owned()));
        assert_eq!(judged(two_way(&[&ca, &other]), two_way(&[&ca])), (1, 0, "c".to_owned()));
    }

    #[test]
    fn what_cannot_be_judged_in_time_is_neither_accepted_nor_refused() {
        let (ca, other) = (Authority::new("clients"), Authority::new("other"));
        let sessions =
            [session(Some(device(&ca.client("a"), &ca)), [192, 0, 2, 1]), session(None, [192, 0, 2, 2])];
        let judged = |proposed, verify_for| {
            let judged = evidence((two_way(&[&ca]), proposed), &sessions, verify_for);
            (judged.refused, judged.not_judged)
        };
        assert_eq!(judged(two_way(&[&other]), Duration::ZERO), (0, 2));
        // One has no certificate that leads to today's client CAs.
        assert_eq!(judged(two_way(&[&other]), VERIFY_FOR * 1_000), (1, 1));
        assert_eq!(judged(two_way(&[&ca]), Duration::ZERO), (0, 0));
    }

    #[test]
    fn a_device_is_named_once() {
        let (ca, other) = (Authority::new("clients"), Authority::new("other"));
        let leaf = ca.client("a");
        let mut sessions =
            [1, 1, 2].map(|last| session(None, [192, 0, 2, last])).into_iter().collect::<Vec<_>>();
        let of_leaf = || session(Some(device(&leaf, &ca)), [192, 0, 2, 3]);
        sessions.extend([of_leaf(), of_leaf()]);
        let judged = evidence((one_way(), two_way(&[&other])), &sessions, VERIFY_FOR * 1_000);
        let named: Vec<_> = judged.named.iter().map(|device| &*device.name).collect();
        assert_eq!((judged.refused, named), (5, vec!["192.0.2.1", "192.0.2.2", "a"]));
    }
}

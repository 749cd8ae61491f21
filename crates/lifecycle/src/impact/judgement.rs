use certward_pki::{ServedChain, TlsType};
use certward_store::Timestamp;

use super::{
    evidence::ImpactEvidence,
    known_devices::KnownVerdict,
    offer_share::OfferShare,
    public_material::PublicMaterial,
    server_side,
    verdict::{Impact, ImpactSeverity, RefusedShare},
};
use crate::NAMED_MAX;

impl Impact {
    /// `known` is what [`KnownVerdict::of`] says of the evidence and this change. `None`: nothing
    /// is known of the deployment's devices.
    pub(super) fn of(
        old: &PublicMaterial,
        new: &PublicMaterial,
        evidence: &ImpactEvidence,
        known: &KnownVerdict,
        as_of: Timestamp,
    ) -> Option<Self> {
        if evidence.is_empty() {
            return None;
        }
        let live = &evidence.live;
        let mut impact = Self {
            severity: ImpactSeverity::None,
            connected: RefusedShare { refused: live.refused, of: live.sessions },
            known: known.share(),
            not_judged: if new.trust.may_refuse_more_than(&old.trust) { evidence.without_example } else { 0 },
            named: live.named.iter().take(NAMED_MAX).cloned().collect(),
            hosts_lost: Vec::new(),
            root_changed: None,
            key_kind_changed: None,
            as_of,
            silent: evidence.silent.clone(),
        };
        let mut is_share_severe = false;
        // Stored chains are readable, as is one that was just judged.
        if let (Some(old_chain), Some(new_chain)) =
            (ServedChain::read(&old.chain), ServedChain::read(&new.chain))
        {
            let offers = OfferShare::of(evidence, &old_chain, &new_chain);
            impact.hosts_lost = server_side::hosts_lost(&evidence.hosts, &old_chain, &new_chain);
            impact.root_changed = old_chain.root_change(&new_chain);
            impact.key_kind_changed = server_side::key_kind_change(&old_chain, &new_chain, &offers);
            is_share_severe = match old.trust.tls_type {
                TlsType::TwoWay => offers.is_severe_among_devices(),
                TlsType::OneWay => offers.is_severe_among_strangers(),
            };
        }
        let may_refuse = new.trust.may_refuse_more_than(&old.trust) || impact.key_kind_changed.is_some();
        let is_unknown = may_refuse && (evidence.is_incomplete() || live.not_judged > 0);
        impact.severity = impact.judged(is_share_severe || is_unknown);
        Some(impact)
    }

    /// `is_severe`: for another reason than those that it has itself.
    fn judged(&self, is_severe: bool) -> ImpactSeverity {
        let is_severe = is_severe
            || self.connected.refused > 0
            || !self.hosts_lost.is_empty()
            || self.root_changed.is_some();
        if is_severe {
            ImpactSeverity::Severe
        } else if self.known.refused > 0 || self.not_judged > 0 || self.key_kind_changed.is_some() {
            ImpactSeverity::Notable
        } else {
            ImpactSeverity::None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::LazyLock};

    use certward_pki::{
        ClientOffer, ClientRefusal, ClientTrust, DeviceCertificate, DeviceIdentity, HostName, IssuerPath,
        RootChange,
    };
    use certward_store::{KnownPath, NodeId, OfferDay};
    use certward_test_support::{Authority, server_params};
    use proptest::prelude::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};

    use super::*;
    use crate::{LiveEvidence, LiveOffer, ProposedTrust, RejectedDevice, SilentNodes};

    const NOW: Timestamp = Timestamp(1_790_000_000_000);
    const P256: u16 = 0x0403;
    const P384: u16 = 0x0503;

    /// Chains of two hosts, two roots and two kinds of key, and two client CAs.
    struct Stage {
        /// By `Upload::chain`; of each an old and a new one.
        leaves: Vec<[Vec<u8>; 2]>,
        client_cas: [Vec<u8>; 2],
        paths: [IssuerPath; 2],
    }

    static STAGE: LazyLock<Stage> = LazyLock::new(|| {
        let roots = ["first root", "second root"].map(Authority::new);
        let client_cas = ["first client CA", "second client CA"].map(Authority::new);
        let leaf = |chain: usize| {
            let hosts = &["a.example.com", "b.example.com"][..1 + (chain >> 2 & 1)];
            match chain >> 1 & 1 {
                0 => roots[chain & 1].server(hosts).der,
                _ => {
                    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
                    roots[chain & 1].issue(server_params(hosts[0], hosts), &key).der
                }
            }
        };
        let path = |ca: &Authority| {
            let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
            let chain = [ca.client("device").der.into()];
            (*DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap().path).clone()
        };
        Stage {
            leaves: (0..8).map(|chain| [leaf(chain), leaf(chain)]).collect(),
            paths: [path(&client_cas[0]), path(&client_cas[1])],
            client_cas: client_cas.map(|ca| ca.der().to_vec()),
        }
    });

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Upload {
        has_second_root: bool,
        has_p384: bool,
        has_second_host: bool,
        client_cas: [bool; 2],
    }

    const RENEWED: Upload =
        Upload { has_second_root: false, has_p384: false, has_second_host: true, client_cas: [false; 2] };

    impl Upload {
        fn is_two_way(self) -> bool {
            self.client_cas != [false; 2]
        }

        fn chain(self) -> usize {
            usize::from(self.has_second_root)
                | usize::from(self.has_p384) << 1
                | usize::from(self.has_second_host) << 2
        }

        fn materials(self) -> [PublicMaterial; 2] {
            let chosen = STAGE.client_cas.iter().zip(self.client_cas).filter(|(_, is_chosen)| *is_chosen);
            let client_cas: Vec<_> = chosen.map(|(ca, _)| ca.clone()).collect();
            let tls_type = if self.is_two_way() { TlsType::TwoWay } else { TlsType::OneWay };
            let trust = ProposedTrust { tls_type, client_cas };
            let leaves = &STAGE.leaves[self.chain()];
            leaves.clone().map(|leaf| PublicMaterial { chain: vec![leaf], trust: trust.clone() })
        }
    }

    fn path_under(ca: usize, devices: u64) -> KnownPath {
        KnownPath { path: STAGE.paths[ca].clone(), devices }
    }

    /// In TLS 1.3; both kinds of chain are signed by P-256.
    fn offer(schemes: &[u16]) -> ClientOffer {
        ClientOffer {
            versions: vec![0x0304],
            signature_schemes: schemes.to_vec(),
            certificate_schemes: vec![P256],
            ..ClientOffer::default()
        }
    }

    fn no_evidence() -> ImpactEvidence {
        ImpactEvidence {
            live: LiveEvidence::default(),
            live_nodes: 0,
            silent: SilentNodes::These(Vec::new()),
            paths: Vec::new(),
            without_example: 0,
            offers: Vec::new(),
            hosts: Vec::new(),
        }
    }

    fn judged(old: Upload, new: Upload, evidence: &ImpactEvidence) -> Option<Impact> {
        let ([old, _], [_, new]) = (old.materials(), new.materials());
        Impact::of(&old, &new, evidence, &KnownVerdict::of(&old, &new, &evidence.paths, NOW), NOW)
    }

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    /// One network a day's hour, of which `lost` of 1,000 sessions verify P-256 only.
    fn one_network(lost: u64) -> Vec<OfferDay> {
        let day = |schemes: &[u16], of_1000: u64| OfferDay {
            day: 20_000,
            offer: offer(schemes),
            sessions: of_1000,
            networks: 1,
            weight: of_1000 * 1_000,
            largest: of_1000 * 1_000,
            hours: 1,
        };
        vec![day(&[P256], lost), day(&[P256, P384], 1_000 - lost)]
    }

    #[test]
    fn each_reason_has_its_severity() {
        let seen = || ImpactEvidence { hosts: vec![host("a.example.com")], ..no_evidence() };
        let two_way = Upload { client_cas: [true, false], ..RENEWED };
        let other_ca = Upload { client_cas: [false, true], ..RENEWED };
        let p384 = Upload { has_p384: true, ..RENEWED };
        let connected = |refused| ImpactEvidence {
            live: LiveEvidence { sessions: 50, refused, ..LiveEvidence::default() },
            live_nodes: 1,
            ..no_evidence()
        };
        let known = |devices| ImpactEvidence { paths: vec![path_under(0, devices)], ..seen() };
        let offers = |lost| ImpactEvidence { offers: one_network(lost), ..seen() };
        // One network of an hour verifies P-256 only, beside others that verify both.
        let beside = |others: u64| {
            let mut offers = one_network(1_000);
            offers[1] = OfferDay { weight: others * 1_000_000, largest: 1_000_000, ..offers[1].clone() };
            ImpactEvidence { offers, ..no_evidence() }
        };
        let n2 = NodeId::parse("n2").unwrap();
        let silent = || ImpactEvidence { silent: SilentNodes::These(vec![n2.clone()]), ..no_evidence() };
        let unknown_path = || ImpactEvidence { without_example: 3, ..no_evidence() };
        let unjudged = || ImpactEvidence {
            live: LiveEvidence { sessions: 5, not_judged: 5, ..LiveEvidence::default() },
            ..no_evidence()
        };
        let b_asked = || ImpactEvidence { hosts: vec![host("b.example.com")], ..no_evidence() };
        let without_b = Upload { has_second_host: false, ..RENEWED };
        let other_root = Upload { has_second_root: true, ..RENEWED };
        use ImpactSeverity::{None as Unaffected, Notable, Severe};
        let cases = [
            ("nothing is known", RENEWED, other_root, no_evidence(), None),
            (
                "only paths without a device",
                two_way,
                other_ca,
                ImpactEvidence { hosts: vec![], ..known(0) },
                None,
            ),
            ("an ordinary renewal", RENEWED, RENEWED, seen(), Some(Unaffected)),
            ("of two-way", two_way, two_way, known(7), Some(Unaffected)),
            (
                "a client CA more",
                two_way,
                Upload { client_cas: [true; 2], ..two_way },
                known(7),
                Some(Unaffected),
            ),
            ("no client CA any more", two_way, RENEWED, known(7), Some(Unaffected)),
            ("connected devices are refused", RENEWED, RENEWED, connected(1), Some(Severe)),
            ("connected devices are accepted", RENEWED, RENEWED, connected(0), Some(Unaffected)),
            ("known devices are refused", two_way, other_ca, known(7), Some(Notable)),
            ("known devices were refused before", other_ca, two_way, known(7), Some(Unaffected)),
            ("known devices of one-way are refused", RENEWED, other_ca, known(7), Some(Notable)),
            ("a host in use is lost", RENEWED, without_b, b_asked(), Some(Severe)),
            ("a host that is not in use is lost", RENEWED, without_b, seen(), Some(Unaffected)),
            ("a host was lost before", without_b, without_b, b_asked(), Some(Unaffected)),
            ("another root", RENEWED, other_root, seen(), Some(Severe)),
            ("another kind of key, without offers", RENEWED, p384, seen(), Some(Notable)),
            ("another kind of key, that all verify", RENEWED, p384, offers(0), Some(Notable)),
            ("that 4 % do not verify, of one network", RENEWED, p384, offers(40), Some(Notable)),
            ("that 5 % do not verify, of one network", RENEWED, p384, offers(50), Some(Severe)),
            (
                "that 1 % do not verify, of devices",
                two_way,
                Upload { has_p384: true, ..two_way },
                offers(10),
                Some(Severe),
            ),
            (
                "that 0.9 % do not verify, of devices",
                two_way,
                Upload { has_p384: true, ..two_way },
                offers(9),
                Some(Notable),
            ),
            ("back to what all verify", p384, RENEWED, offers(500), Some(Notable)),
            ("a fleet of one network cannot verify, beside another", RENEWED, p384, beside(1), Some(Severe)),
            ("one of three networks cannot verify", RENEWED, p384, beside(2), Some(Notable)),
            ("sessions that cannot be judged, and a renewal", two_way, two_way, unjudged(), Some(Unaffected)),
            (
                "sessions that cannot be judged, and another client CA",
                two_way,
                other_ca,
                unjudged(),
                Some(Severe),
            ),
            ("a silent node, and an ordinary renewal", two_way, two_way, silent(), Some(Unaffected)),
            ("a silent node, and another client CA", two_way, other_ca, silent(), Some(Severe)),
            ("a silent node, and two-way", RENEWED, two_way, silent(), Some(Severe)),
            ("a silent node, and one-way", two_way, RENEWED, silent(), Some(Unaffected)),
            ("a silent node, and another root", RENEWED, other_root, silent(), Some(Severe)),
            ("a silent node, and another kind of key", RENEWED, p384, silent(), Some(Severe)),
            ("devices of an unknown path, and a renewal", two_way, two_way, unknown_path(), Some(Unaffected)),
            (
                "devices of an unknown path, and another client CA",
                two_way,
                other_ca,
                unknown_path(),
                Some(Notable),
            ),
        ];
        for (case, old, new, evidence, severity) in cases {
            let impact = judged(old, new, &evidence);
            assert_eq!(impact.as_ref().map(|impact| impact.severity), severity, "{case}: {impact:?}");
        }
    }

    #[test]
    fn an_impact_says_what_it_is_about() {
        let old = Upload { client_cas: [true, false], ..RENEWED };
        let new = Upload {
            has_second_root: true,
            has_p384: true,
            has_second_host: false,
            client_cas: [false, true],
        };
        let rejected =
            |n: u8| RejectedDevice { id: None, name: n.to_string().into(), reason: "It is.".into() };
        let evidence = ImpactEvidence {
            live: LiveEvidence {
                sessions: 50,
                refused: 30,
                named: (0..30).map(rejected).collect(),
                ..LiveEvidence::default()
            },
            live_nodes: 1,
            silent: SilentNodes::AllOthers,
            paths: vec![path_under(0, 7), path_under(1, 5)],
            without_example: 3,
            offers: one_network(100),
            hosts: ["b.example.com", "c.example.com", "a.example.com", "b.example.com"].map(host).to_vec(),
        };
        let mut impact = judged(old, new, &evidence).unwrap();
        assert_eq!(std::mem::take(&mut impact.named), (0..20).map(rejected).collect::<Vec<_>>());
        let root_changed = RootChange { from: "CN=first root".to_owned(), to: "CN=second root".to_owned() };
        let key_kind_changed = super::super::KeyKindChange {
            from: "ECDSA P-256".to_owned(),
            to: "ECDSA P-384".to_owned(),
            share_millionths: 100_000,
        };
        let expected = Impact {
            severity: ImpactSeverity::Severe,
            connected: RefusedShare { refused: 30, of: 50 },
            known: RefusedShare { refused: 7, of: 7 },
            not_judged: 3,
            named: Vec::new(),
            hosts_lost: vec!["b.example.com".to_owned()],
            root_changed: Some(root_changed),
            key_kind_changed: Some(key_kind_changed),
            as_of: NOW,
            silent: SilentNodes::AllOthers,
        };
        assert_eq!(impact, expected);
    }

    #[test]
    fn a_path_that_is_refused_says_why() {
        let two_way = |client_cas| Upload { client_cas, ..RENEWED }.materials();
        let ([old, _], [_, new]) = (two_way([true, false]), two_way([false, true]));
        let paths = [path_under(0, 7), path_under(1, 5)];
        let verdict = KnownVerdict::of(&old, &new, &paths, NOW);
        assert_eq!(verdict.share(), RefusedShare { refused: 7, of: 7 });
        let refused: Vec<_> = verdict.refused.iter().map(|path| (path.path, path.refusal)).collect();
        assert_eq!(refused, [(paths[0].path.id, ClientRefusal::UnknownIssuer)]);
    }

    /// Sessions of a network in an hour, by offer.
    type NetworkHour = BTreeMap<usize, u64>;

    /// What they can verify.
    const OFFERS: [&[u16]; 3] = [&[P256], &[P384], &[P256, P384]];

    /// As gateway and store sum them: a network has one weight in an hour.
    fn rows(hours: &[Vec<NetworkHour>]) -> Vec<(usize, u64, u64, u64)> {
        let mut rows = BTreeMap::<usize, (u64, u64, u64)>::new();
        for networks in hours {
            for which in 0..OFFERS.len() {
                let weights: Vec<u64> = networks
                    .iter()
                    .filter_map(|network| {
                        Some(1_000_000 * network.get(&which)? / network.values().sum::<u64>())
                    })
                    .collect();
                if let Some(largest) = weights.iter().max() {
                    let row = rows.entry(which).or_default();
                    *row = (row.0 + weights.iter().sum::<u64>(), row.1 + largest, row.2 + 1);
                }
            }
        }
        rows.into_iter().map(|(which, (weight, largest, hours))| (which, weight, largest, hours)).collect()
    }

    fn networks() -> impl Strategy<Value = Vec<NetworkHour>> {
        // Mostly of one offer, so that shares are near the bounds too.
        let sessions = prop_oneof![8 => Just(0_u64), 2 => 1..100_u64, 1 => 1..10_000_u64];
        let network = (1..200_u64, sessions.clone(), sessions).prop_map(|(both, first, second)| {
            BTreeMap::from([(2, both), (0, first), (1, second)]).into_iter().filter(|(_, n)| *n > 0).collect()
        });
        prop::collection::vec(network, 1..6)
    }

    /// Of which one in a hundred sessions, or one in twenty, verifies P-256 only.
    fn nearly_all_modern() -> impl Strategy<Value = Vec<NetworkHour>> {
        let network =
            (40..200_u64, prop_oneof![Just(0_u64), 0..4_u64, 3..12_u64]).prop_map(|(both, first)| {
                BTreeMap::from([(2, both), (0, first)]).into_iter().filter(|(_, n)| *n > 0).collect()
            });
        prop::collection::vec(network, 1..4)
    }

    fn offer_days(hours: &[Vec<NetworkHour>]) -> Vec<OfferDay> {
        let day = |(which, weight, largest, hours): (usize, u64, u64, u64)| OfferDay {
            day: 20_000,
            offer: offer(OFFERS[which]),
            sessions: 1,
            networks: 1,
            weight,
            largest,
            hours,
        };
        rows(hours).into_iter().map(day).collect()
    }

    fn uploads() -> impl Strategy<Value = Upload> {
        any::<(bool, bool, bool, [bool; 2])>().prop_map(
            |(has_second_root, has_p384, has_second_host, client_cas)| Upload {
                has_second_root,
                has_p384,
                has_second_host,
                client_cas,
            },
        )
    }

    /// The rules in the words of docs/impact.md, computed from sessions instead of sums.
    fn expected(
        (old, new): (Upload, Upload),
        (known, refused): ([u64; 2], u64),
        (is_a_asked, is_b_asked): (bool, bool),
        hours: &[Vec<NetworkHour>],
    ) -> Option<ImpactSeverity> {
        let is_known = known != [0, 0] || is_a_asked || is_b_asked || !hours.is_empty() || refused > 0;
        let accepts = |upload: Upload, ca: usize| !upload.is_two_way() || upload.client_cas[ca];
        let known_refused = (0..2).any(|ca| known[ca] > 0 && accepts(old, ca) && !accepts(new, ca));
        let (mut all, mut lost, mut lost_elsewhere) = (0.0, 0.0, 0.0);
        for networks in hours {
            let shares = |network: &NetworkHour, which: usize| {
                *network.get(&which).unwrap_or(&0) as f64 / network.values().sum::<u64>() as f64
            };
            all += networks.len() as f64;
            for (which, schemes) in OFFERS.iter().enumerate() {
                let verifies = |upload: Upload| schemes.contains(if upload.has_p384 { &P384 } else { &P256 });
                if verifies(old) && !verifies(new) {
                    let parts: Vec<f64> = networks.iter().map(|network| shares(network, which)).collect();
                    lost += parts.iter().sum::<f64>();
                    lost_elsewhere += parts.iter().sum::<f64>() - parts.iter().copied().fold(0.0, f64::max);
                }
            }
        }
        // The largest number of hours of one offer.
        let most = (0..OFFERS.len())
            .map(|which| hours.iter().filter(|hour| hour.iter().any(|n| n.contains_key(&which))).count())
            .max();
        let per_hour = all / most.unwrap_or(0) as f64;
        let near = |value: f64, bound: f64| (value - bound).abs() < 0.000_1;
        // Rounding of sums decides there.
        let is_near = [0.01, 0.05, 0.5].iter().any(|bound| near(lost / all, *bound));
        if is_near || near(lost_elsewhere / all, 0.01) {
            return None;
        }
        let is_share_severe = lost > 0.0
            && if old.is_two_way() {
                lost / all >= 0.01
            } else if per_hour < 1.25 {
                lost / all >= 0.05
            } else {
                lost / all >= 0.5 || lost / all >= 0.01 && lost_elsewhere / all >= 0.01
            };
        let is_severe = refused > 0
            || (is_b_asked && old.has_second_host && !new.has_second_host)
            || old.has_second_root != new.has_second_root
            || is_share_severe;
        is_known.then_some(if is_severe {
            ImpactSeverity::Severe
        } else if known_refused || lost > 0.0 || old.has_p384 != new.has_p384 {
            ImpactSeverity::Notable
        } else {
            ImpactSeverity::None
        })
    }

    proptest! {
        #[test]
        fn the_judgement_is_that_of_a_plain_model(
            old in uploads(),
            change in uploads(),
            is_renewal in any::<bool>(),
            known in [prop_oneof![Just(0_u64), 1..9_u64], prop_oneof![Just(0_u64), 1..9_u64]],
            refused in prop_oneof![3 => Just(0_u64), 1 => 1..9_u64],
            asked in any::<(bool, bool)>(),
            hours in prop::collection::vec(networks(), 0..4),
            is_live in any::<bool>(),
        ) {
            let new = if is_renewal { old } else { change };
            let rows = rows(&hours);
            let mut evidence = no_evidence();
            evidence.live = LiveEvidence { sessions: refused, refused, ..LiveEvidence::default() };
            // One hour may be the present one.
            if is_live && hours.len() == 1 {
                evidence.live.sessions += 1;
                evidence.live_nodes = 1;
                evidence.live.offers = rows
                    .iter()
                    .map(|(which, weight, largest, _)| LiveOffer {
                        offer: offer(OFFERS[*which]), sessions: 1, weight: *weight, largest: *largest,
                    })
                    .collect();
            } else {
                evidence.offers = offer_days(&hours);
            }
            evidence.paths = vec![path_under(0, known[0]), path_under(1, known[1])];
            let names = [("a.example.com", asked.0), ("b.example.com", asked.1)];
            evidence.hosts = names.iter().filter(|(_, asked)| *asked).map(|(name, _)| host(name)).collect();
            let impact = judged(old, new, &evidence);
            if let Some(severity) = expected((old, new), (known, refused), asked, &hours) {
                prop_assert_eq!(impact.as_ref().map(|impact| impact.severity), Some(severity));
            }
            if old == new && refused == 0 {
                prop_assert!(impact.is_none_or(|impact| impact.severity == ImpactSeverity::None));
            }
        }

        /// As above, with nothing but the kind of key to judge.
        #[test]
        fn a_small_share_is_judged_as_by_the_plain_model(
            hours in prop::collection::vec(prop_oneof![nearly_all_modern(), networks()], 1..4),
            is_two_way in any::<bool>(),
        ) {
            let old = Upload { client_cas: [is_two_way, false], ..RENEWED };
            let new = Upload { has_p384: true, ..old };
            let evidence = ImpactEvidence { offers: offer_days(&hours), ..no_evidence() };
            let severity = judged(old, new, &evidence).unwrap().severity;
            if let Some(expected) = expected((old, new), ([0, 0], 0), (false, false), &hours) {
                prop_assert_eq!(severity, expected);
            }
        }

        /// However many sessions and offers one network has.
        #[test]
        fn one_network_of_strangers_moves_no_verdict(
            fleet in prop::collection::vec(1..200_u64, 2..40),
            strangers in 1..1_000_000_u64,
            hours in 1..5_usize,
        ) {
            let mut networks: Vec<NetworkHour> =
                fleet.iter().map(|sessions| BTreeMap::from([(2, *sessions)])).collect();
            let evidence = |networks: &Vec<NetworkHour>| ImpactEvidence {
                offers: offer_days(&vec![networks.clone(); hours]),
                ..no_evidence()
            };
            let new = Upload { has_p384: true, ..RENEWED };
            let before = judged(RENEWED, new, &evidence(&networks)).unwrap();
            networks.push(BTreeMap::from([(0, strangers)]));
            let after = judged(RENEWED, new, &evidence(&networks)).unwrap();
            prop_assert_eq!(before.severity, after.severity);
            let share = after.key_kind_changed.unwrap().share_millionths;
            prop_assert!(u64::from(share) <= 1_000_000 / networks.len() as u64);
        }
    }
}

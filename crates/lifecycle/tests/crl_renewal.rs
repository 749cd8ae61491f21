//! CRLs that are fetched: by one node for all, and the last good one is kept.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use certward_lifecycle::{CrlFetcher, Fetched, Fetching, Lifecycle, RenewedCrls, Unfetched};
use certward_pki::StalePolicy;
use certward_store::{
    AuditPage, CRL_BYTES_IN_ALL_MAX, CrlContent, CrlFetching, CrlId, CrlRevision, CrlUrl, DeploymentCrl,
    FetchConditions, Generation, RevocationMark, Timestamp,
};
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use support::{Authority, Uploads, World};
use tokio::sync::Notify;

const CANARY: &str = "canary-7f3a";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers what the test has put in, in that order.
#[derive(Debug, Default)]
struct Answers {
    queue: Mutex<VecDeque<Result<Fetched, Unfetched>>>,
    asked: Mutex<Vec<FetchConditions>>,
    /// Says that it was asked, and waits for the test.
    held: Mutex<Option<(Arc<Notify>, Arc<Notify>)>>,
}

impl CrlFetcher for Answers {
    fn fetch<'a>(&'a self, _: &'a CrlUrl, conditions: &'a FetchConditions) -> Fetching<'a> {
        self.asked.lock().unwrap().push(conditions.clone());
        let held = self.held.lock().unwrap().clone();
        Box::pin(async move {
            if let Some((asked, go_on)) = held {
                asked.notify_one();
                go_on.notified().await;
            }
            self.queue.lock().unwrap().pop_front().unwrap()
        })
    }

    fn may_reach_any(&self) -> bool {
        true
    }
}

/// A deployment whose only client CA may sign CRLs.
struct Stage {
    world: World,
    lifecycle: Lifecycle,
    answers: Arc<Answers>,
    ca: Authority,
}

impl Stage {
    /// With the CRL `ca`, to be fetched at once.
    async fn new() -> Self {
        let stage = Self::without_certificate().await;
        stage.world.create(Authority::new("Servers").two_way(&[&stage.ca])).await;
        stage
    }

    async fn without_certificate() -> Self {
        let (world, answers) = (World::new().await, Arc::new(Answers::default()));
        let lifecycle = world.lifecycle.clone().with_crl_fetcher(Arc::<Answers>::clone(&answers));
        let stage = Self { world, lifecycle, answers, ca: signing("Devices") };
        stage.put("ca", None, Some(stage.fetched_at(stage.now()))).await;
        stage
    }

    fn now(&self) -> Timestamp {
        self.lifecycle.store().clock().now()
    }

    fn fetched_at(&self, next_at: Timestamp) -> CrlFetching {
        CrlFetching {
            url: CrlUrl::parse("http://ca.example/ca.crl").unwrap(),
            conditions: FetchConditions::default(),
            fetched_at: None,
            next_at,
            failure: None,
        }
    }

    async fn put(&self, id: &str, content: Option<CrlContent>, fetching: Option<CrlFetching>) {
        let deployment = self.world.deployment().await;
        let mut tx = self.lifecycle.store().begin().await.unwrap();
        tx.deployment(&deployment.id).await.unwrap().unwrap();
        let crl = DeploymentCrl {
            id: CrlId::parse(id).unwrap(),
            generation: Generation(0),
            content,
            stale_policy: StalePolicy::Soft,
            fetching,
            put_by: self.world.admin.clone(),
            put_at: tx.now(),
        };
        tx.put_crl(&deployment.id, &crl, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn answer(&self, answer: Result<Fetched, Unfetched>) {
        self.answers.queue.lock().unwrap().push_back(answer);
    }

    fn send(&self, bytes: &[u8], etag: &str) {
        let conditions = FetchConditions::of(Some(etag), None);
        self.answer(Ok(Fetched::Body { bytes: bytes.to_vec(), conditions }));
    }

    fn fail(&self, code: &'static str) {
        self.answer(Err(Unfetched { code, sentence: format!("it is {code}") }));
    }

    async fn turn(&self) -> RenewedCrls {
        self.lifecycle.crl_renewal().turn().await.unwrap()
    }

    /// The next fetch is due: moves the clock there.
    async fn next_turn(&self) -> RenewedCrls {
        let next_at = self.fetching().await.next_at;
        self.world.clock.advance(next_at.since(self.now()));
        self.turn().await
    }

    async fn crl(&self) -> DeploymentCrl {
        let crls = self.lifecycle.store().read().crls(&self.world.id).await.unwrap();
        crls.into_iter().find(|crl| crl.id.as_str() == "ca").unwrap()
    }

    async fn fetching(&self) -> CrlFetching {
        self.crl().await.fetching.unwrap()
    }

    /// Code, how many in a row, and how long ago the first was.
    async fn failure(&self) -> Option<(String, u32, Duration)> {
        let failure = self.fetching().await.failure?;
        assert!(!failure.sentence.contains(CANARY), "{failure:?}");
        Some((failure.code, failure.count, self.now().since(failure.since)))
    }

    async fn served(&self) -> Option<Vec<u8>> {
        let id = CrlId::parse("ca").unwrap();
        let served = self.lifecycle.store().read().served_crl(&self.world.id, &id).await.unwrap();
        served.map(|served| served.der)
    }

    /// Signed now, for ten days.
    fn list(&self, number: u64) -> Vec<u8> {
        list_of(&self.ca, number, self.now(), 10)
    }
}

fn signing(name: &str) -> Authority {
    Authority::new_with(name, |params| params.key_usages.push(KeyUsagePurpose::CrlSign))
}

fn list_of(ca: &Authority, number: u64, at: Timestamp, days: u32) -> Vec<u8> {
    let key = KeyPair::from_pem(&ca.key().serialize_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(ca.pem(), key).unwrap();
    let params = CertificateRevocationListParams {
        this_update: at.to_time(),
        next_update: at.after(DAY * days).to_time(),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(77_u64),
            revocation_time: at.to_time(),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().der().to_vec()
}

fn pem(der: &[u8]) -> Vec<u8> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", lines.join("\n")).into_bytes()
}

const UNMODIFIED: RenewedCrls = RenewedCrls { unmodified: 1, replaced: 0, failed: 0 };
const REPLACED: RenewedCrls = RenewedCrls { unmodified: 0, replaced: 1, failed: 0 };
const FAILED: RenewedCrls = RenewedCrls { unmodified: 0, replaced: 0, failed: 1 };
const NOTHING: RenewedCrls = RenewedCrls { unmodified: 0, replaced: 0, failed: 0 };

#[tokio::test]
async fn one_node_fetches_for_all_and_nodes_carry_it_out() {
    let stage = Stage::new().await;
    let (before, status) = (stage.world.generation().await, stage.world.status().await);
    let list = stage.list(1);
    stage.send(&list, "\"1\"");
    let other = stage.world.another_lifecycle().with_crl_fetcher(Arc::<Answers>::clone(&stage.answers));
    let (one, two) = (stage.lifecycle.crl_renewal(), other.crl_renewal());
    let (one, two) = tokio::join!(one.turn(), two.turn());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!([one, two].contains(&REPLACED) && [one, two].contains(&NOTHING), "{one:?} {two:?}");
    assert_eq!(stage.answers.asked.lock().unwrap().len(), 1);

    assert_eq!(stage.served().await, Some(list.clone()));
    let crl = stage.crl().await;
    let content = crl.content.unwrap();
    assert_eq!(
        (content.entries, content.number.as_deref(), content.bytes),
        (1, Some("1"), list.len() as u64)
    );
    assert_eq!(content.this_update.0 / 1000, stage.now().0 / 1000);
    assert!(content.issuer.contains("Devices"), "{}", content.issuer);
    let fetching = crl.fetching.unwrap();
    assert_eq!(fetching.fetched_at, Some(stage.now()));
    assert_eq!(fetching.conditions.etag(), Some("\"1\""));
    let pause = fetching.next_at.since(stage.now());
    assert!(pause > 20 * HOUR && pause <= DAY, "{pause:?}");

    let deployment = stage.world.deployment().await;
    assert_eq!((crl.generation, deployment.generation > before), (deployment.generation, true));
    assert_ne!(deployment.revocations, RevocationMark::default(), "nodes must read it");
    assert_eq!(stage.world.status().await, status);
    let page = AuditPage { action: Some("tls.crl-fetch".into()), limit: 10, ..AuditPage::default() };
    let rows = stage.lifecycle.store().read().audit(&page).await.unwrap();
    assert_eq!((rows.len(), rows[0].record.actor.as_str()), (1, "certward"));
}

#[tokio::test]
async fn a_crl_that_is_the_same_changes_nothing_for_nodes() {
    let stage = Stage::new().await;
    let list = stage.list(1);
    stage.send(&list, "\"1\"");
    assert_eq!(stage.turn().await, REPLACED);
    let (generation, content) = (stage.world.generation().await, stage.crl().await.content);
    stage.answer(Ok(Fetched::Unmodified));
    assert_eq!(stage.next_turn().await, UNMODIFIED);
    for (bytes, etag) in [(list.clone(), "\"2\""), (pem(&list), "\"3\"")] {
        stage.send(&bytes, etag);
        assert_eq!(stage.next_turn().await, UNMODIFIED, "{etag}");
        let fetching = stage.fetching().await;
        assert_eq!((fetching.fetched_at, fetching.conditions.etag()), (Some(stage.now()), Some(etag)));
    }
    assert_eq!(stage.world.generation().await, generation);
    assert_eq!(stage.crl().await.content, content);
    let asked = stage.answers.asked.lock().unwrap().clone();
    let etags: Vec<_> = asked.iter().map(|conditions| conditions.etag()).collect();
    assert_eq!(etags, [None, Some("\"1\""), Some("\"1\""), Some("\"2\"")]);
    assert_eq!(stage.turn().await, NOTHING, "it is not due");
}

#[tokio::test]
async fn a_series_of_failures_keeps_the_last_good_crl_and_backs_off() {
    let stage = Stage::new().await;
    let list = stage.list(1);
    stage.send(&list, "\"1\"");
    stage.turn().await;
    let generation = stage.world.generation().await;
    let mut pauses = Vec::new();
    for (count, code) in (1..).zip(["connect", "status", "timed_out", "connect"]) {
        stage.fail(code);
        assert_eq!(stage.next_turn().await, FAILED);
        let (named, counted, _) = stage.failure().await.unwrap();
        assert_eq!((named.as_str(), counted), (code, count));
        pauses.push(stage.fetching().await.next_at.since(stage.now()));
    }
    for (pause, minutes) in pauses.iter().zip([1, 2, 4, 8]) {
        let longest = Duration::from_secs(minutes * 60);
        assert!(*pause <= longest && *pause >= longest.mul_f64(0.899), "{pauses:?}");
    }
    let (_, _, since) = stage.failure().await.unwrap();
    assert_eq!(since, pauses[..3].iter().sum::<Duration>());
    assert_eq!((stage.served().await, stage.world.generation().await), (Some(list), generation));
    assert_eq!(stage.fetching().await.conditions.etag(), Some("\"1\""));
    stage.answer(Ok(Fetched::Unmodified));
    assert_eq!((stage.next_turn().await, stage.failure().await), (UNMODIFIED, None));
}

#[tokio::test]
async fn what_is_refused_leaves_the_last_good_crl_in_service() {
    let stage = Stage::new().await;
    let list = stage.list(5);
    stage.send(&list, "\"5\"");
    stage.turn().await;
    let stranger = list_of(&signing("Devices"), 6, stage.now(), 10);
    let unknown = list_of(&signing(CANARY), 6, stage.now(), 10);
    for (bytes, code) in [
        (CANARY.as_bytes().to_vec(), "PEM_MISSING"),
        (Vec::new(), "CRL_MISSING"),
        (stage.ca.pem().as_bytes().to_vec(), "NOT_A_CRL"),
        (list_of(&stage.ca, 4, Timestamp(stage.now().0 - 60_000), 10), "CRL_OLDER"),
        (stranger, "CRL_SIGNER_KEY_DIFFERS"),
        (unknown, "CRL_ISSUER_UNKNOWN"),
    ] {
        stage.send(&bytes, "\"bad\"");
        assert_eq!(stage.next_turn().await, FAILED, "{code}");
        assert_eq!(stage.failure().await.unwrap().0, code);
        assert_eq!(stage.served().await.as_ref(), Some(&list), "{code}");
        assert_eq!(stage.fetching().await.conditions.etag(), Some("\"5\""), "the next one is sent whole");
    }
    let newer = stage.list(6);
    stage.send(&newer, "\"6\"");
    assert_eq!((stage.next_turn().await, stage.failure().await), (REPLACED, None));
    assert_eq!(stage.served().await, Some(newer));
}

#[tokio::test]
async fn a_crl_of_a_deployment_without_client_cas_waits_for_them() {
    let stage = Stage::without_certificate().await;
    stage.send(&stage.list(1), "\"1\"");
    assert_eq!(stage.turn().await, FAILED);
    assert_eq!(
        (stage.failure().await.unwrap().0.as_str(), stage.served().await),
        ("CRL_ISSUER_UNKNOWN", None)
    );
    stage.world.create(Authority::new("Servers").two_way(&[&stage.ca])).await;
    let list = stage.list(1);
    stage.send(&list, "\"1\"");
    assert_eq!((stage.next_turn().await, stage.served().await), (REPLACED, Some(list)));
}

#[tokio::test]
async fn a_crl_over_the_bytes_of_its_deployment_is_refused() {
    let stage = Stage::new().await;
    let list = stage.list(1);
    for (left, expected) in [(list.len() as u64 - 1, FAILED), (list.len() as u64, REPLACED)] {
        let content = CrlContent {
            revision: CrlRevision([7; 16]),
            bytes: CRL_BYTES_IN_ALL_MAX - left,
            fingerprint: String::new(),
            signer_spki: Vec::new(),
            issuer: String::new(),
            number: None,
            entries: 0,
            this_update: stage.now(),
            next_update: None,
        };
        stage.put("other", Some(content), None).await;
        stage.send(&list, "\"1\"");
        assert_eq!(stage.next_turn().await, expected, "{left}");
    }
}

#[tokio::test]
async fn what_was_set_again_during_the_fetch_is_left_as_it_is() {
    let stage = Stage::new().await;
    let held = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    *stage.answers.held.lock().unwrap() = Some(held.clone());
    stage.send(&stage.list(1), "\"1\"");
    let renewal = stage.lifecycle.crl_renewal();
    let turn = tokio::spawn(async move { renewal.turn().await.unwrap() });
    held.0.notified().await;
    let again = stage.fetched_at(stage.now().after(HOUR));
    stage.put("ca", None, Some(again.clone())).await;
    held.1.notify_one();
    assert_eq!(turn.await.unwrap(), NOTHING);
    assert_eq!((stage.fetching().await, stage.served().await), (again, None));
}

#[tokio::test]
async fn a_node_that_may_reach_nothing_claims_nothing() {
    let stage = Stage::new().await;
    let before = stage.fetching().await;
    assert!(!stage.world.lifecycle.may_fetch_crls());
    assert_eq!(stage.world.lifecycle.crl_renewal().turn().await.unwrap(), NOTHING);
    assert_eq!(stage.fetching().await, before);
}

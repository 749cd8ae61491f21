//! CRLs: judged with the client CAs and the CRL in service, and no version.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{sync::Arc, time::Duration};

use certward_lifecycle::{AcceptedCrl, CrlError, Denied, Handling, NewCrl, NewKey};
use certward_pki::{Code, CrlTable, DenyList, DeviceIdentity, Revocations, StalePolicy};
use certward_store::{
    AuditPage, CRLS_MAX, CloseRate, CrlId, CrlUrl, DeploymentCrl, EndingKind, EndingPage, EndingScope, Scope,
    ServedCrl, Timestamp,
};
use certward_test_support::Leaf;
use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};
use rustls_pki_types::UnixTime;
use support::{Authority, Uploads, World};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn id(text: &str) -> CrlId {
    CrlId::parse(text).unwrap()
}

fn upload(der: &[u8]) -> NewCrl {
    NewCrl::Upload(Arc::new(der.to_vec()))
}

fn address() -> NewCrl {
    NewCrl::Address(CrlUrl::parse("http://crl.example.com/devices.crl?token=secret").unwrap())
}

impl World {
    fn now(&self) -> OffsetDateTime {
        self.lifecycle.store().clock().now().to_time()
    }

    /// Of 30 days, from now on.
    fn crl_of(&self, ca: &Authority, number: u64, revoked: &[&Leaf]) -> Vec<u8> {
        ca.crl(number, revoked, self.now(), self.now() + 30 * DAY)
    }

    async fn set_as(
        &self,
        name: &str,
        new: NewCrl,
        policy: Option<StalePolicy>,
    ) -> Result<AcceptedCrl, CrlError> {
        self.lifecycle.set_crl(&self.admin, &self.this().await, &id(name), new, policy, None).await
    }

    async fn set(&self, name: &str, new: NewCrl) -> Result<AcceptedCrl, CrlError> {
        self.set_as(name, new, None).await
    }

    async fn refused(&self, name: &str, new: NewCrl) -> Code {
        match self.set(name, new).await {
            Err(CrlError::Refused(findings)) => findings[0].code,
            other => panic!("{other:?}"),
        }
    }

    async fn crls(&self) -> Vec<DeploymentCrl> {
        self.lifecycle.crls(&self.this().await).await.unwrap().unwrap()
    }

    /// As a node reads them.
    async fn refuses(&self, leaf: &Leaf) -> bool {
        let store = self.lifecycle.store().read();
        let mut tables = Vec::new();
        for (name, _) in store.crl_revisions(&self.id).await.unwrap() {
            let ServedCrl { der, signer_spki, stale_policy, .. } =
                store.served_crl(&self.id, &name).await.unwrap().unwrap();
            tables.push(Arc::new(CrlTable::of_accepted(&der, &signer_spki, stale_policy).unwrap()));
        }
        let revocations =
            Revocations::new(DeviceIdentity::Cn, Arc::new(DenyList::default())).with_crls(tables);
        let now = u64::try_from(self.now().unix_timestamp()).unwrap();
        revocations
            .check(&leaf.der.clone().into(), UnixTime::since_unix_epoch(Duration::from_secs(now)))
            .is_err()
    }

    async fn audited(&self, action: &str) -> Vec<String> {
        let page = AuditPage { action: Some(action.to_owned()), limit: 100, ..AuditPage::default() };
        let listed = self.lifecycle.store().read().audit(&page).await.unwrap();
        listed.into_iter().map(|listed| listed.record.detail).collect()
    }

    /// The ends of CRLs that are listed, earliest first.
    async fn ends(&self) -> Vec<Timestamp> {
        let page = EndingPage { until: Timestamp(i64::MAX), after: None, limit: 100 };
        let found = self.lifecycle.store().read().endings(&EndingScope::All, page).await.unwrap();
        let crls = found.into_iter().filter(|found| found.ending.kind == EndingKind::Crl);
        crls.map(|found| found.ending.ends_at).collect()
    }
}

async fn two_way(ca: &Authority) -> World {
    let world = World::new().await;
    world.create(ca.two_way(&[ca])).await;
    world
}

#[tokio::test]
async fn a_crl_revokes_and_its_successor_takes_its_place() {
    let ca = Authority::new("Devices");
    let (world, lost, kept) = (two_way(&ca).await, ca.client("lost"), ca.client("kept"));
    let tls = world.deployment().await.tls;
    let accepted = world.set("ca", upload(&world.crl_of(&ca, 7, &[&lost]))).await.unwrap();
    assert_eq!(accepted.generation, world.generation().await);
    assert!(accepted.findings.is_empty(), "{:?}", accepted.findings);
    let content = accepted.crl.content.clone().unwrap();
    assert_eq!((content.number.as_deref(), content.entries), (Some("7"), 1));
    assert_eq!((accepted.crl.stale_policy, &accepted.crl.put_by), (StalePolicy::Soft, &world.admin));
    assert_eq!(world.crls().await, [accepted.crl]);
    assert!(world.refuses(&lost).await && !world.refuses(&kept).await);

    assert_eq!(world.refused("ca", upload(&world.crl_of(&ca, 6, &[]))).await, Code::CrlOlder);
    assert!(world.refuses(&lost).await);
    world.set("ca", upload(&world.crl_of(&ca, 8, &[&kept]))).await.unwrap();
    assert!(!world.refuses(&lost).await && world.refuses(&kept).await);
    assert_eq!(world.deployment().await.tls, tls, "it is no version");

    let before = world.generation().await;
    let removed = world.lifecycle.remove_crl(&world.admin, &world.this().await, &id("ca")).await.unwrap();
    assert!(removed > before);
    assert!(!world.refuses(&kept).await);
    assert!(world.deployment().await.revocations.is_empty());
    let again = world.lifecycle.remove_crl(&world.admin, &world.this().await, &id("ca")).await;
    assert!(matches!(again, Err(CrlError::NotFound)), "{again:?}");
}

#[tokio::test]
async fn a_crl_that_cannot_be_used_is_refused_and_the_one_in_service_stays() {
    let (ca, other) = (Authority::new("Devices"), Authority::new("Others"));
    let (world, lost) = (two_way(&ca).await, ca.client("lost"));
    world.set("ca", upload(&world.crl_of(&ca, 7, &[&lost]))).await.unwrap();
    let (before, crls) = (world.deployment().await, world.crls().await);
    let key = ca.client("lost").key_pem;
    assert_eq!(world.refused("ca", upload(key.as_bytes())).await, Code::CrlHoldsKey);
    let foreign = world.set("ca", upload(&world.crl_of(&other, 1, &[]))).await;
    assert!(matches!(foreign, Err(CrlError::Refused(_))), "{foreign:?}");
    let ended = ca.crl(9, &[], world.now() - 30 * DAY, world.now() - DAY);
    let hard = world.set_as("ca", upload(&ended), Some(StalePolicy::Hard)).await;
    assert!(matches!(hard, Err(CrlError::Refused(findings)) if findings[0].code == Code::CrlStaleHard));
    assert_eq!((world.deployment().await, world.crls().await), (before, crls));
    assert_eq!(world.audited("tls.crl-").await.len(), 0);
    assert_eq!(world.audited("tls.crl-set").await.len(), 1);

    // Without client CAs there is no signer.
    let one_way = World::new().await;
    let refused = one_way.set("ca", upload(&one_way.crl_of(&ca, 1, &[]))).await;
    assert!(matches!(refused, Err(CrlError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn the_same_crl_again_changes_nothing_for_nodes() {
    let ca = Authority::new("Devices");
    let world = two_way(&ca).await;
    let der = world.crl_of(&ca, 7, &[]);
    let hard = Some(StalePolicy::Hard);
    let first = world.set_as("ca", upload(&der), hard).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    let again = world.set("ca", upload(&der)).await.unwrap();
    assert_eq!(again.generation, first.generation);
    assert_eq!(world.generation().await, first.generation);
    assert_eq!(again.crl.content, first.crl.content);
    assert_eq!(again.crl.stale_policy, StalePolicy::Hard, "an upload without a policy keeps it");
    assert!(again.crl.put_at > first.crl.put_at);
    let soft = world.set_as("ca", upload(&der), Some(StalePolicy::Soft)).await.unwrap();
    assert!(soft.generation > first.generation, "nodes must know");
    assert_ne!(
        soft.crl.content.unwrap().revision,
        first.crl.content.unwrap().revision,
        "the revision is of the policy, too"
    );
}

#[tokio::test]
async fn a_second_crl_of_an_issuer_is_warned_of_with_the_id_of_the_first() {
    let (ca, other) = (Authority::new("Devices"), Authority::new("Others"));
    let world = World::new().await;
    world.create(ca.two_way(&[&ca, &other])).await;
    let twice = |accepted: &AcceptedCrl| {
        let codes = accepted.findings.iter().filter(|finding| finding.code == Code::CrlIssuerTwice);
        codes.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    let partition = |scope| {
        let uris = vec!["http://crl.example.com/devices.crl".to_owned()];
        let distribution_point = CrlDistributionPoint { uris };
        let scope = CrlIssuingDistributionPoint { distribution_point, scope: Some(scope) };
        ca.partition(scope, world.now(), world.now() + 30 * DAY)
    };
    let (of_devices, of_cas) = (partition(CrlScope::UserCertsOnly), partition(CrlScope::CaCertsOnly));
    for (name, der, others) in [
        ("may", world.crl_of(&ca, 7, &[]), vec![]),
        ("others", world.crl_of(&other, 7, &[]), vec![]),
        ("june", world.crl_of(&ca, 8, &[]), vec!["may"]),
        ("july", world.crl_of(&ca, 9, &[]), vec!["june", "may"]),
        // In place of one with this id.
        ("others", world.crl_of(&other, 8, &[]), vec![]),
        ("partition-1", of_devices.clone(), vec![]),
        ("partition-2", of_cas, vec![]),
        ("partition-3", of_devices, vec!["partition-1"]),
    ] {
        let accepted = world.set(name, upload(&der)).await.unwrap();
        let expected: Vec<_> = others
            .iter()
            .map(|other| format!("The CRL {other} of this deployment is of the same CA."))
            .collect();
        assert_eq!(twice(&accepted), expected, "{name}");
    }
    assert_eq!(world.crls().await.len(), 7, "it is a warning");
}

#[tokio::test]
async fn one_that_is_fetched_keeps_its_content_until_then() {
    let ca = Authority::new("Devices");
    let (world, lost) = (two_way(&ca).await, ca.client("lost"));
    let unfetched = world.set("new", address()).await.unwrap();
    assert_eq!(unfetched.crl.content, None);
    let fetching = unfetched.crl.fetching.unwrap();
    assert_eq!((fetching.next_at, fetching.fetched_at), (unfetched.crl.put_at, None));
    assert!(world.deployment().await.revocations.is_empty());
    world.set("ca", upload(&world.crl_of(&ca, 7, &[&lost]))).await.unwrap();
    let before = world.generation().await;
    let kept = world.set("ca", address()).await.unwrap();
    assert!(kept.crl.content.is_some() && kept.crl.fetching.is_some());
    assert_eq!(world.generation().await, before);
    assert!(world.refuses(&lost).await);
    // It has become stale: hard, it would refuse all devices at once.
    world.clock.advance(40 * DAY);
    let hardened = world.set_as("ca", address(), Some(StalePolicy::Hard)).await;
    assert!(matches!(hardened, Err(CrlError::StaleInService)), "{hardened:?}");
    let audited = world.audited("tls.crl-set").await;
    assert!(audited.iter().any(|detail| detail.contains("from crl.example.com")), "{audited:?}");
    assert!(audited.iter().all(|detail| !detail.contains("secret")), "{audited:?}");
}

#[tokio::test]
async fn a_crl_is_judged_with_the_client_cas_of_the_newest_upload() {
    let (ca, next) = (Authority::new("Devices"), Authority::new("Next"));
    let world = two_way(&ca).await;
    world.set("ca", upload(&world.crl_of(&ca, 7, &[]))).await.unwrap();
    world
        .lifecycle
        .replace_tls(&world.admin, &world.this().await, ca.two_way(&[&next]).into(), Handling::Lenient, None)
        .await
        .unwrap();
    let refused = world.set("ca", upload(&world.crl_of(&ca, 8, &[]))).await;
    assert!(matches!(refused, Err(CrlError::Refused(_))), "{refused:?}");
    assert_eq!(world.crls().await.len(), 1, "the one in service stays, for the CA may come back");
}

#[tokio::test]
async fn crls_of_a_deployment_are_bounded() {
    let ca = Authority::new("Devices");
    let world = two_way(&ca).await;
    for number in 0..CRLS_MAX {
        world.set(&format!("crl-{number}"), address()).await.unwrap();
    }
    let more = world.set("one-more", address()).await;
    assert!(matches!(more, Err(CrlError::TooMany)), "{more:?}");
    world.set("crl-0", address()).await.unwrap();
    let gone = world.this().await;
    world.lifecycle.remove_deployment(&world.admin, &gone).await.unwrap();
    let set = world.lifecycle.set_crl(&world.admin, &gone, &id("crl-0"), address(), None, None).await;
    assert!(matches!(set, Err(CrlError::NoDeployment)), "{set:?}");
}

#[tokio::test]
async fn the_next_updates_are_listed_with_what_ends() {
    let ca = Authority::new("Devices");
    let world = two_way(&ca).await;
    let end = |days: u32| Timestamp::from_time(world.now() + days * DAY);
    let of = |number, days: u32| ca.crl(number, &[], world.now(), world.now() + days * DAY);
    let (thirty, ten) = (end(30), end(10));
    world.set("a", upload(&of(1, 30))).await.unwrap();
    assert_eq!(world.ends().await, [thirty]);
    world.set("b", upload(&of(2, 10))).await.unwrap();
    world.set("c", address()).await.unwrap();
    assert_eq!(world.ends().await, [ten, thirty]);
    // The upload's certificates are listed beside them, and leave them.
    let mut watch = world.lifecycle.expiry_watch();
    assert!(watch.turn(world.lifecycle.store().clock().now()).await.unwrap().is_empty());
    assert_eq!(world.ends().await, [ten, thirty]);

    world.clock.advance(9 * DAY + DAY / 2);
    let alerts = watch.turn(world.lifecycle.store().clock().now()).await.unwrap();
    let alerted: Vec<_> = alerts.iter().map(|alert| (alert.owners.clone(), alert.subject.clone())).collect();
    assert_eq!(alerted, [(vec![world.id.to_string()], "CN=Devices".to_owned())]);
    world.set("b", upload(&of(3, 40))).await.unwrap();
    assert_eq!(world.ends().await.len(), 2);
    for name in ["a", "b"] {
        world.lifecycle.remove_crl(&world.admin, &world.this().await, &id(name)).await.unwrap();
    }
    assert!(world.ends().await.is_empty());
    world.set("a", upload(&of(4, 40))).await.unwrap();
    world.lifecycle.remove_deployment(&world.admin, &world.this().await).await.unwrap();
    assert!(world.ends().await.is_empty());
}

#[tokio::test]
async fn a_change_of_a_crl_needs_the_right_and_has_a_rate() {
    let ca = Authority::new("Devices");
    let world = two_way(&ca).await;
    let reading = NewKey::new("reads", &[Scope::TlsRead], None);
    let (reading, _) = world.lifecycle.create_key(&world.admin, &reading).await.unwrap();
    let (this, ca_id) = (world.this().await, id("ca"));
    let der = world.crl_of(&ca, 7, &[]);
    let refused = world.lifecycle.set_crl(&reading.key, &this, &ca_id, upload(&der), None, None).await;
    assert!(matches!(refused, Err(CrlError::Denied(Denied::NoScope(Scope::Tls)))), "{refused:?}");
    let rate = CloseRate::parse(50).unwrap();
    world.lifecycle.set_crl(&world.admin, &this, &ca_id, upload(&der), None, rate).await.unwrap();
    assert!(world.deployment().await.close_rate.is_some());
    let refused = world.lifecycle.remove_crl(&reading.key, &this, &ca_id).await;
    assert!(matches!(refused, Err(CrlError::Denied(_))), "{refused:?}");
}

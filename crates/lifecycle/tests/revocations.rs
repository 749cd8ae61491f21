//! The deny-list: all or none, once each, and without a new version.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{net::Ipv4Addr, sync::Arc};

use certward_lifecycle::{
    Denied, NewKey, NewRevocation, RefusedRevocation, RevocationError, RevocationFault, RevocationTarget,
    Revoked,
};
use certward_pki::{
    ClientTrust, DenyKey, DenyKeys, DenyList, DeviceCertificate, DeviceIdentity, Revocations,
    RevokedCertificate, UnreadableCertificate,
};
use certward_store::{
    AuditPage, DeviceBatch, DeviceSighting, NodeId, RevocationChange, RevocationId, RevokedWhat, Scope,
    Timestamp,
};
use certward_test_support::{Leaf, authority_params};
use support::{Authority, Uploads, World};

fn device(leaf: &Leaf, client_ca: &Authority) -> DeviceCertificate {
    let trust = ClientTrust::new(vec![client_ca.der().to_vec().into()]).unwrap();
    DeviceCertificate::read(&[leaf.der.clone().into()], &trust, DeviceIdentity::Cn).unwrap()
}

fn by(target: RevocationTarget) -> NewRevocation {
    NewRevocation { target, reason: String::new() }
}

fn by_certificate(leaf: &Leaf) -> NewRevocation {
    by(RevocationTarget::Certificate(leaf.pem.clone().into_bytes()))
}

fn by_name(name: &str) -> NewRevocation {
    by(RevocationTarget::Name { name: name.to_owned(), issuer: None })
}

impl World {
    async fn saw(&self, devices: &[DeviceCertificate]) {
        let deployment = self.this().await;
        let at = self.lifecycle.store().clock().now();
        let sighting = |device: &DeviceCertificate| DeviceSighting {
            deployment: deployment.clone(),
            device: Arc::new(device.clone()),
            at,
            host: None,
            tls_version: "1.3",
            address: Ipv4Addr::LOCALHOST.into(),
        };
        let batch = DeviceBatch { devices: devices.iter().map(sighting).collect(), ..DeviceBatch::default() };
        self.lifecycle.store().record_devices(&batch).await.unwrap();
    }

    async fn try_to_revoke(&self, new: &[NewRevocation]) -> Result<Revoked, RevocationError> {
        self.lifecycle.revoke(&self.admin, &self.this().await, new, None).await
    }

    async fn revoke(&self, new: &[NewRevocation]) -> Revoked {
        self.try_to_revoke(new).await.unwrap()
    }

    /// As a node reads them.
    async fn revocations(&self) -> Revocations {
        let store = self.lifecycle.store().read();
        let (change, _) = store.revocations_since(&self.deployment().await, None).await.unwrap();
        let RevocationChange::All(keys) = change else { panic!("nothing is known: {change:?}") };
        Revocations::new(DeviceIdentity::Cn, Arc::new(DenyList::from_iter(keys)))
    }

    async fn refuses(&self, leaf: &Leaf) -> bool {
        self.revocations().await.denies(&DenyKeys::of(&leaf.der, DeviceIdentity::Cn).unwrap())
    }

    async fn audited(&self, action: &str) -> Vec<String> {
        let page = AuditPage { action: Some(action.to_owned()), limit: 100, ..AuditPage::default() };
        let listed = self.lifecycle.store().read().audit(&page).await.unwrap();
        listed.into_iter().map(|listed| listed.record.detail).collect()
    }
}

#[tokio::test]
async fn a_device_is_refused_by_each_kind_of_revocation_and_no_other_is() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let (leaf, other) = (ca.client("lost"), ca.client("kept"));
    let facts = device(&leaf, &ca);
    world.saw(&[facts.clone(), device(&other, &ca)]).await;
    let colons: Vec<_> =
        facts.fingerprint.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap()).collect();
    let issuer = facts.issuer.to_string();
    let targets = [
        RevocationTarget::Fingerprint(colons.join(":").to_uppercase()),
        RevocationTarget::Certificate(leaf.der.clone()),
        RevocationTarget::Serial {
            issuer: issuer.clone(),
            serial: format!("00{}", facts.serial.to_uppercase()),
        },
        RevocationTarget::Name { name: "lost".into(), issuer: None },
        RevocationTarget::Name { name: "lost".into(), issuer: Some(issuer.clone()) },
    ];
    for target in targets {
        let revoked = world.revoke(&[by(target.clone())]).await;
        assert!(world.refuses(&leaf).await, "{target:?}");
        assert!(!world.refuses(&other).await, "{target:?}");
        assert_eq!(revoked.matches.known, 1, "{target:?}");
        let id = revoked.entries[0].revocation.id;
        world.lifecycle.remove_revocation(&world.admin, &world.this().await, id).await.unwrap();
        assert!(!world.refuses(&leaf).await, "{target:?}");
    }
    let other_issuer = RevocationTarget::Name { name: "lost".into(), issuer: Some("CN=Other".into()) };
    assert_eq!(world.revoke(&[by(other_issuer)]).await.matches.known, 0);
    assert!(!world.refuses(&leaf).await);
}

#[tokio::test]
async fn a_ca_is_refused_unless_it_is_a_known_device() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let refused = |index| RefusedRevocation { index, fault: RevocationFault::CaCertificate };
    let by_ca = |ca: &Authority| by(RevocationTarget::Certificate(ca.pem().as_bytes().to_vec()));
    let new =
        [by_name("a"), by_ca(&ca), by_certificate(&ca.client("lost")), by_ca(&ca.intermediate("Meters"))];
    match world.try_to_revoke(&new).await {
        Err(RevocationError::Refused(all)) => assert_eq!(all, [refused(1), refused(3)]),
        other => panic!("{other:?}"),
    }

    let own = Leaf::self_signed(authority_params("own"));
    let strange = Leaf::self_signed(authority_params("own"));
    let id = RevokedCertificate::read(own.pem.as_bytes()).unwrap().device;
    world.saw(&[DeviceCertificate { id, ..device(&ca.client("own"), &ca) }]).await;
    let revoked = world.revoke(&[by_certificate(&own)]).await;
    assert_eq!(revoked.matches.known, 1);
    assert!(world.refuses(&own).await);
    match world.try_to_revoke(&[by_certificate(&own), by_certificate(&strange)]).await {
        Err(RevocationError::Refused(all)) => assert_eq!(all, [refused(1)]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_answer_has_what_was_asked_for_in_its_order_and_what_is_there_stays() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let leaf = ca.client("lost");
    let reason = |new: NewRevocation, reason: &str| NewRevocation { reason: reason.to_owned(), ..new };
    let first = world.revoke(&[reason(by_name("b"), "stolen")]).await;
    let before = world.generation().await;
    assert_eq!(first.generation, before);
    let new = [
        reason(by_name("a"), "1"),
        reason(by_name("b"), "2"),
        reason(by_certificate(&leaf), "3"),
        reason(by_name("a"), "4"),
    ];
    let second = world.revoke(&new).await;
    let entries = &second.entries;
    assert_eq!(entries.iter().map(|entry| entry.is_new).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(entries[1].revocation, first.entries[0].revocation);
    assert_eq!(entries[3].revocation, entries[0].revocation);
    assert_eq!(entries[0].revocation.reason, "1");
    let RevokedWhat::Certificate { fingerprint, .. } = &entries[2].revocation.what else { panic!() };
    assert_eq!(**fingerprint, *device(&leaf, &ca).fingerprint);
    assert!(second.generation > before);
    assert_eq!(second.generation, world.generation().await);
    assert_eq!(entries[0].revocation.revoked_by, world.admin);

    let again = world.revoke(&new).await;
    assert!(again.entries.iter().all(|entry| !entry.is_new));
    assert_eq!(again.generation, second.generation, "nothing changed");
    let listed = world.lifecycle.revocations(&world.this().await, None, 10).await.unwrap().unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[2], first.entries[0].revocation);
}

#[tokio::test]
async fn all_that_cannot_be_stored_is_named_and_nothing_is_stored() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let leaf = ca.client("lost");
    let unknown = device(&leaf, &ca).fingerprint.to_string();
    let new = [
        by_name("a"),
        by(RevocationTarget::Fingerprint(unknown)),
        by(RevocationTarget::Certificate(leaf.key_pem.clone().into_bytes())),
        by_name("b"),
        by(RevocationTarget::Serial { issuer: "CN=A".into(), serial: "xyz".into() }),
    ];
    let before = world.deployment().await;
    let refused = world.try_to_revoke(&new).await.unwrap_err();
    let RevocationError::Refused(refused) = refused else { panic!("{refused:?}") };
    let no_certificate = RevocationFault::BadCertificate(UnreadableCertificate::NoCertificate);
    let faults =
        [(1, RevocationFault::UnknownFingerprint), (2, no_certificate), (4, RevocationFault::BadSerial)];
    assert_eq!(refused, faults.map(|(index, fault)| RefusedRevocation { index, fault }));
    for count in [0, 1_001] {
        let new: Vec<_> = (0..count).map(|n| by_name(&format!("device-{n}"))).collect();
        assert!(matches!(world.try_to_revoke(&new).await, Err(RevocationError::Count)), "{count}");
    }
    assert_eq!(world.deployment().await, before);
    assert!(world.audited("tls.revoke").await.is_empty());
}

#[tokio::test]
async fn a_revocation_is_no_version_and_survives_the_certificate() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let node = world.join("node-a").await;
    let leaf = ca.client("lost");
    let new = [by_certificate(&leaf)];
    assert!(!world.revoke(&new).await.has_effect, "there is no certificate");
    world.create(ca.one_way()).await;
    assert!(!world.revoke(&new).await.has_effect, "devices are not asked for theirs");
    world.replace(ca.two_way(&[&ca])).await;
    assert_eq!(world.status().await, "pending");
    let version = world.deployment().await.tls;
    let scope = world.trust_scope().await;
    assert!(world.revoke(&[by_name("pending")]).await.has_effect);
    assert_eq!(world.deployment().await.tls, version);
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");
    let running = world.deployment().await.tls;
    let revoked = world.revoke(&[by_name("running")]).await;
    assert_eq!((world.status().await.as_str(), &world.deployment().await.tls), ("running", &running));
    assert_eq!(world.trust_scope().await, scope, "tickets of others go on");
    let id = revoked.entries[0].revocation.id;
    world.lifecycle.remove_revocation(&world.admin, &world.this().await, id).await.unwrap();
    assert_eq!(world.deployment().await.tls, running);

    world.delete().await;
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "absent");
    assert!(world.refuses(&leaf).await);
    world.create(ca.two_way(&[&ca])).await;
    assert!(world.refuses(&leaf).await);
    let gone = world.this().await;
    world.lifecycle.remove_deployment(&world.admin, &gone).await.unwrap();
    let again = world.lifecycle.revoke(&world.admin, &gone, &new, None).await;
    assert!(matches!(again, Err(RevocationError::NoDeployment)), "{again:?}");
    world.lifecycle.create_deployment(&world.admin, world.new_deployment("ge6a1a75")).await.unwrap();
    assert!(!world.refuses(&leaf).await);
    let again = world.lifecycle.revoke(&world.admin, &gone, &new, None).await;
    assert!(matches!(again, Err(RevocationError::NoDeployment)), "another has its id: {again:?}");
}

#[tokio::test]
async fn devices_known_and_connected_are_counted_once() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let leaves: Vec<_> = (0..4).map(|n| ca.client(&format!("device-{n}"))).collect();
    let devices: Vec<_> = leaves.iter().map(|leaf| device(leaf, &ca)).collect();
    world.saw(&devices).await;
    let new = [by_certificate(&leaves[0]), by_name("device-0"), by_name("device-1"), by_name("stranger")];
    let matches = world.revoke(&new).await.matches;
    assert_eq!((matches.known, matches.connected), (2, None), "there is no gateway");

    *world.gateway.node.lock().unwrap() = Some(NodeId::parse("this").unwrap());
    *world.gateway.denied.lock().unwrap() = vec![DenyKey::named("device-1"), DenyKey::named("device-3")];
    let matches = world.revoke(&new).await.matches;
    assert_eq!((matches.known, matches.connected.unwrap().by_key), (2, vec![0, 0, 1, 0]));
}

#[tokio::test]
async fn changes_are_audited_without_names_and_need_the_right() {
    let (world, ca) = (World::new().await, Authority::new("Devices"));
    let new: Vec<_> = (0..22).map(|n| by_name(&format!("secret-name-{n}"))).collect();
    let revoked = world.revoke(&new).await;
    let id = revoked.entries[0].revocation.id;
    world.lifecycle.remove_revocation(&world.admin, &world.this().await, id).await.unwrap();
    let again = world.lifecycle.remove_revocation(&world.admin, &world.this().await, id).await;
    assert!(matches!(again, Err(RevocationError::NotFound)), "{again:?}");
    let (added, removed) = (world.audited("tls.revoke").await, world.audited("tls.unrevoke").await);
    assert_eq!((added.len(), removed.len()), (1, 1));
    assert!(added[0].starts_with("22 revocations: ") && added[0].contains(&id.to_string()), "{added:?}");
    assert!(added[0].contains(" and 2 more, generation "), "{added:?}");
    assert!(removed[0].starts_with(&id.to_string()), "{removed:?}");
    assert!(!added[0].contains("secret-name"), "{added:?}");

    let reading = NewKey::new("reads", &[Scope::TlsRead], None);
    let (reading, _) = world.lifecycle.create_key(&world.admin, &reading).await.unwrap();
    let this = world.this().await;
    let refused = world.lifecycle.revoke(&reading.key, &this, &[by_certificate(&ca.client("x"))], None).await;
    assert!(matches!(refused, Err(RevocationError::Denied(Denied::NoScope(Scope::Tls)))), "{refused:?}");
    let refused = world.lifecycle.remove_revocation(&reading.key, &this, RevocationId([0; 16])).await;
    assert!(matches!(refused, Err(RevocationError::Denied(_))), "{refused:?}");
    assert!(revoked.entries[0].revocation.revoked_at > Timestamp(0));
}

//! Client CAs: who uses each, adding one, removing one, and who would be left behind.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use certward_lifecycle::{
    AcceptedUpload, AlertMessage, ClientCasOfDeployment, Handling, SessionsByClientCa, SilentNodes, Status,
    TlsError,
};
use certward_pki::{
    ClientTrust, Code, DeviceCertificate, DeviceId, DeviceIdentity, Text, TlsType, fingerprint,
};
use certward_store::{
    AlertKind, AlertPage, AuditPage, DeviceBatch, DeviceSighting, NodeId, Timestamp, VersionId,
};
use certward_test_support::Leaf;
use support::{Authority, Uploads, World, given};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl World {
    async fn newest_id(&self) -> VersionId {
        self.deployment().await.tls.version().unwrap()
    }

    async fn add(&self, pem: &str) -> Result<AcceptedUpload, TlsError> {
        self.lifecycle.add_client_cas(&self.admin, &self.this().await, given(pem), Handling::Lenient).await
    }

    async fn remove(&self, ca: &Authority) -> Result<AcceptedUpload, TlsError> {
        self.remove_strictly(ca, Handling::Lenient).await
    }

    async fn remove_strictly(&self, ca: &Authority, handling: Handling) -> Result<AcceptedUpload, TlsError> {
        let (this, fingerprint) = (self.this().await, fingerprint(ca.der()));
        self.lifecycle.remove_client_ca(&self.admin, &this, &fingerprint, handling, None).await
    }

    async fn listed(&self) -> ClientCasOfDeployment {
        self.lifecycle.client_cas(&self.admin, &self.this().await).await.unwrap()
    }

    /// Names, in alphabetical order, of all pages of `limit`.
    async fn stragglers(&self, ca: &Authority, limit: u32) -> Vec<String> {
        let (this, fingerprint) = (self.this().await, fingerprint(ca.der()));
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = self.lifecycle.stragglers(&self.admin, &this, &fingerprint, (after, limit)).await;
            let page = page.unwrap();
            names.extend(page.devices.into_iter().map(|straggler| straggler.device.name));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        names.sort();
        names
    }

    /// Seen so long ago, as a verifier of this client CA accepted it.
    async fn saw(&self, leaf: &Leaf, ca: &Authority, ago: Duration) -> DeviceId {
        let now = self.lifecycle.store().clock().now();
        let chain: Vec<_> =
            std::iter::once(&leaf.der).chain(&leaf.intermediates).map(|der| der.clone().into()).collect();
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let device = DeviceCertificate::read(&chain, &trust, DeviceIdentity::Cn).unwrap();
        let id = device.id;
        let sighting = DeviceSighting {
            deployment: self.this().await,
            device: Arc::new(device),
            at: now.before(ago),
            host: None,
            tls_version: "1.3",
            address: Ipv4Addr::LOCALHOST.into(),
        };
        let batch = DeviceBatch { devices: vec![sighting], ..DeviceBatch::default() };
        self.lifecycle.store().record_devices(&batch).await.unwrap();
        id
    }

    async fn audited(&self) -> Vec<(String, String)> {
        let page = AuditPage { limit: 100, ..AuditPage::default() };
        let audit = self.lifecycle.store().read().audit(&page).await.unwrap();
        let rows = audit.into_iter().map(|row| (row.record.action, row.record.detail));
        rows.filter(|(action, _)| action.starts_with("tls.client-ca")).collect()
    }
}

/// With these client CAs.
async fn world(cas: &[&Authority]) -> World {
    let world = World::new().await;
    world.create(Authority::new("Server CA").two_way(cas)).await;
    world
}

#[tokio::test]
async fn adding_and_removing_make_versions_of_the_same_leaf_and_key() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old]).await;
    let node = world.join("node-a").await;
    world.report(&node, Ok(())).await;
    let (first, scope) = (world.newest_id().await, world.trust_scope().await);
    let store = world.lifecycle.store().read();
    let leaf = store.version(&world.id, first).await.unwrap().unwrap().chain;

    let added = world.add(new.pem()).await.unwrap();
    assert_eq!((added.view.status, added.view.tls_type), (Status::Pending, TlsType::TwoWay));
    assert_eq!(world.client_cas().await, [old.der(), new.der()]);
    assert_eq!(world.trust_scope().await, scope, "tickets go on");
    let second = world.newest_id().await;
    world.report(&node, Ok(())).await;
    assert_eq!(world.status().await, "running");

    world.remove(&old).await.unwrap();
    assert_eq!(world.client_cas().await, [new.der()]);
    assert_ne!(world.trust_scope().await, scope, "tickets of the old CA's devices do not");
    let third = world.newest_id().await;
    assert!(first < second && second < third);
    for version in [second, third] {
        let version = store.version(&world.id, version).await.unwrap().unwrap();
        assert_eq!((&version.chain, version.restores), (&leaf, None));
        assert_eq!(version.accepted_by.as_ref(), Some(&world.admin));
    }
    let keys = [first, third].map(|version| store.private_key(&world.id, version));
    let [before, after] = keys;
    let (before, after) = (before.await.unwrap().unwrap(), after.await.unwrap().unwrap());
    assert_eq!(*before.expose_pkcs8_der(), *after.expose_pkcs8_der());

    let rows = world.audited().await;
    let actions: Vec<&str> = rows.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["tls.client-ca-remove", "tls.client-ca-add"]);
    assert!(rows[0].1.starts_with(&format!("version {third}, two-way, 1 client CAs")), "{rows:?}");

    // Back again, as to any version.
    world
        .lifecycle
        .roll_back_tls(&world.admin, &world.this().await, None, Handling::Lenient, None)
        .await
        .unwrap();
    assert_eq!(world.client_cas().await, [old.der(), new.der()]);
}

#[tokio::test]
async fn what_cannot_be_added_or_removed_changes_nothing() {
    let (ca, other, server) = (Authority::new("A"), Authority::new("B"), Authority::new("Server CA"));
    let world = World::new().await;
    let none = [world.add(ca.pem()).await, world.remove(&ca).await];
    assert!(none.iter().all(|refused| matches!(refused, Err(TlsError::NotFound))), "{none:?}");
    world.create(server.one_way()).await;
    let one_way = [world.add(ca.pem()).await, world.remove(&ca).await];
    assert!(one_way.iter().all(|refused| matches!(refused, Err(TlsError::NotTwoWay))), "{one_way:?}");
    assert_eq!(world.listed().await.client_cas, []);

    world.replace(server.two_way(&[&ca])).await;
    let before = world.deployment().await;
    let refused = world.remove(&ca).await;
    assert!(matches!(refused, Err(TlsError::LastClientCa)), "{refused:?}");
    let refused = world.remove(&other).await;
    assert!(matches!(refused, Err(TlsError::NoClientCa)), "{refused:?}");
    let leaf = ca.client("a device");
    let expired = Authority::new_with("C", |params| params.not_after = rcgen::date_time_ymd(2026, 11, 24));
    for (pem, code) in [
        ("", Code::CaMissing),
        ("no certificate", Code::PemMissing),
        (&leaf.key_pem, Code::CaHoldsKey),
        (&leaf.pem, Code::CaNotCa),
        (&format!("{}{}", other.pem(), leaf.pem), Code::CaNotCa),
    ] {
        let refused = world.add(pem).await;
        let Err(TlsError::Refused(findings)) = refused else { panic!("{pem}: {refused:?}") };
        assert_eq!(findings[0].code, code, "{findings:?}");
    }
    let this = world.this().await;
    let no_text = world.lifecycle.add_client_cas(&world.admin, &this, Text::NotText, Handling::Lenient).await;
    assert!(matches!(no_text, Err(TlsError::Refused(_))), "{no_text:?}");
    // Each is there already, or is of no use: no version is made.
    for (pem, code) in [(ca.pem(), Code::DuplicateLeftOut), (expired.pem(), Code::CaExpiredLeftOut)] {
        let unchanged = world.add(pem).await.unwrap();
        let codes: Vec<_> = unchanged.view.warnings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&code), "{codes:?}");
        assert_eq!(unchanged.change, Default::default());
    }
    assert_eq!(world.deployment().await, before);
    assert_eq!(world.audited().await, []);

    // One that is there, and one that is not.
    let added = world.add(&format!("{}{}", ca.pem(), other.pem())).await.unwrap();
    let notice = added.view.warnings.iter().find(|finding| finding.code == Code::DuplicateLeftOut).unwrap();
    assert_eq!(notice.item.as_ref().unwrap().index, 0, "of what was sent");
    assert_eq!(world.client_cas().await, [ca.der(), other.der()]);
}

/// Two CAs of one name with other keys, and one that was renewed with its key.
#[tokio::test]
async fn cas_are_told_apart_by_name_and_key_in_every_step() {
    let (ca, namesake) = (Authority::new("Devices"), Authority::new("Devices"));
    let renewed = ca.renewed("Devices");
    let world = world(&[&ca]).await;
    let below = ca.intermediate("Site");
    for (leaf, ago) in [
        (ca.client("today"), Duration::ZERO),
        (below.client("this week"), 3 * DAY),
        (ca.client("this month"), 20 * DAY),
        (ca.client("long ago"), 40 * DAY),
    ] {
        world.saw(&leaf, &ca, ago).await;
    }
    let all = ["long ago", "this month", "this week", "today"];
    assert_eq!(world.stragglers(&ca, 100).await, all, "the only one");

    world.add(namesake.pem()).await.unwrap();
    world.saw(&namesake.client("of a namesake"), &namesake, 2 * DAY).await;
    let counted = |listed: &ClientCasOfDeployment| {
        listed.client_cas.iter().map(|ca| (ca.admitted, ca.same_ca.len())).collect::<Vec<_>>()
    };
    let listed = world.listed().await;
    assert_eq!(counted(&listed), [([1, 2, 3], 0), ([0, 1, 1], 0)]);
    let now = world.lifecycle.store().clock().now();
    let last_seen = [now, now.before(2 * DAY)].map(Some);
    assert_eq!([0, 1].map(|ca: usize| listed.client_cas[ca].last_seen_at), last_seen);
    assert_eq!(listed.client_cas[0].subject, listed.client_cas[1].subject);
    assert_eq!(world.stragglers(&ca, 1).await, all);
    assert_eq!(world.stragglers(&namesake, 1).await, ["of a namesake"]);

    world.add(renewed.pem()).await.unwrap();
    let listed = world.listed().await;
    assert_eq!(counted(&listed), [([1, 2, 3], 1), ([0, 1, 1], 0), ([1, 2, 3], 1)], "of both certificates");
    assert_eq!(listed.client_cas[0].same_ca, [fingerprint(renewed.der())]);
    for either in [&ca, &renewed] {
        assert_eq!(world.stragglers(either, 100).await, [""; 0], "the other one admits them");
    }
    let removed = world.remove(&ca).await.unwrap();
    assert_eq!(removed.impact.unwrap().known.refused, 0);
    assert_eq!(counted(&world.listed().await), [([0, 1, 1], 0), ([1, 2, 3], 0)]);
    assert_eq!(world.stragglers(&renewed, 2).await, all, "that the first certificate admitted");
    let removed = world.remove(&renewed).await.unwrap();
    assert_eq!(removed.impact.unwrap().known.refused, 4);
    // Of the name there is one CA, whose key is another.
    assert_eq!(counted(&world.listed().await), [([0, 1, 1], 0)]);
}

#[tokio::test]
async fn a_device_that_has_moved_to_another_ca_is_no_straggler() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let world = world(&[&old, &new]).await;
    *world.gateway.node.lock().unwrap() = Some(NodeId::parse("node-a").unwrap());
    *world.gateway.connected.lock().unwrap() = Some(Vec::new());
    let hour = Duration::from_secs(60 * 60);
    let seen = async |name: &str, ca: &Authority, ago| world.saw(&ca.client(name), ca, ago).await;
    let moved = seen("moved", &old, 2 * hour).await;
    seen("moved", &new, hour).await;
    seen("moved twice", &old, 3 * hour).await;
    seen("moved twice", &new, 2 * hour).await;
    seen("moved twice", &new, hour).await;
    seen("stayed", &old, hour).await;
    seen("went back", &new, 2 * hour).await;
    seen("went back", &old, hour).await;
    // Two devices of one name, of which one has moved.
    seen("one name", &old, 3 * hour).await;
    seen("one name", &old, 2 * hour).await;
    seen("one name", &new, hour).await;
    let ended = old.client_with("ended", |params| params.not_after = rcgen::date_time_ymd(2026, 11, 25));
    world.saw(&ended, &old, DAY).await;
    let expected = ["one name", "one name", "stayed", "went back"];
    for limit in [1, 2, 100] {
        assert_eq!(world.stragglers(&old, limit).await, expected, "pages of {limit}");
    }
    assert_eq!(world.stragglers(&new, 100).await.len(), 4, "whose old certificate is not the newer one");
    *world.gateway.connected.lock().unwrap() = Some(vec![moved]);
    assert!(world.stragglers(&old, 100).await.contains(&"moved".to_owned()), "it is connected");
    // A node that does not identify devices: unknown.
    *world.gateway.connected.lock().unwrap() = None;
    assert_eq!(world.stragglers(&old, 100).await, expected);
    let (this, old) = (world.this().await, fingerprint(old.der()));
    let page = world.lifecycle.stragglers(&world.admin, &this, &old, (None, 100)).await.unwrap();
    assert!(page.devices.iter().all(|straggler| straggler.connected.is_none()));
    let unknown = world.lifecycle.stragglers(&world.admin, &this, &"0".repeat(64), (None, 100)).await;
    assert!(matches!(unknown, Err(TlsError::NoClientCa)), "{unknown:?}");
}

#[tokio::test]
async fn sessions_are_counted_by_ca_and_nodes_without_devices_are_named() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let renewed = old.renewed("Old");
    let world = world(&[&old, &new, &renewed]).await;
    let node = NodeId::parse("node-a").unwrap();
    let connected =
        async || world.listed().await.client_cas.iter().map(|ca| ca.connected).collect::<Vec<_>>();
    assert_eq!(connected().await, [0, 0, 0], "no node");
    *world.gateway.node.lock().unwrap() = Some(node.clone());
    *world.gateway.by_client_ca.lock().unwrap() =
        SessionsByClientCa { sessions: vec![3, 4, 5], records_devices: true };
    assert_eq!(connected().await, [8, 4, 8]);
    assert_eq!(world.listed().await.anonymous, []);
    world.gateway.by_client_ca.lock().unwrap().records_devices = false;
    let listed = world.listed().await;
    assert_eq!((listed.anonymous, listed.silent), (vec![node], SilentNodes::These(vec![])));
    assert_eq!(listed.client_cas[1].last_seen_at, None::<Timestamp>);
}

/// `fingerprint`, of each that is recorded and not withdrawn.
async fn open_alerts(world: &World) -> Vec<String> {
    let page = AlertPage { projects: None, before: None, limit: 100 };
    let alerts = world.lifecycle.store().read().alerts(&page).await.unwrap();
    let open = alerts.into_iter().filter(|alert| alert.withdrawn_at.is_none());
    open.filter(|alert| alert.cause.kind() == AlertKind::UnusedClientCa).map(|alert| alert.item).collect()
}

#[tokio::test]
async fn a_ca_that_no_device_uses_for_a_month_is_an_alert_until_one_comes_or_it_goes() {
    let (old, new, never) = (Authority::new("Old"), Authority::new("New"), Authority::new("Never"));
    let renewed = old.renewed("Old");
    let world = world(&[&old, &new, &never, &renewed]).await;
    let is_new = async || world.lifecycle.watch_client_cas().await.unwrap().len();
    let unused = fingerprint(old.der());
    let leaf = old.client("a");
    world.saw(&leaf, &old, 31 * DAY).await;
    assert_eq!(is_new().await, 0, "no other CA is used: devices may not be recorded");
    world.saw(&new.client("b"), &new, DAY).await;
    assert_eq!(is_new().await, 0, "no node that confirms it");
    *world.gateway.node.lock().unwrap() = Some(NodeId::parse("node-a").unwrap());
    let nodes = |sessions: [u64; 4], records_devices| {
        *world.gateway.by_client_ca.lock().unwrap() =
            SessionsByClientCa { sessions: sessions.to_vec(), records_devices };
    };
    nodes([0; 4], false);
    assert_eq!(is_new().await, 0, "a node records no devices");
    nodes([0, 3, 0, 1], true);
    assert_eq!(is_new().await, 0, "a device of its renewed certificate is connected");
    nodes([0, 3, 0, 0], true);
    let alerts = world.lifecycle.watch_client_cas().await.unwrap();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].subject, "CN=Old");
    let AlertMessage { json, text, .. } = AlertMessage::of(&alerts[0]);
    for of_ca in [&old, &renewed] {
        let command = format!("certward trust remove ge6a1a75 {}", fingerprint(of_ca.der()));
        assert!(json.contains(&command) && text.contains(&command), "{text}");
    }
    assert_eq!(is_new().await, 0, "once");
    assert_eq!(open_alerts(&world).await, std::slice::from_ref(&unused));
    // What is not certain any more stays said.
    nodes([0; 4], false);
    assert_eq!((is_new().await, open_alerts(&world).await.len()), (0, 1));

    nodes([0, 3, 0, 0], true);
    world.saw(&leaf, &old, Duration::ZERO).await;
    assert_eq!((is_new().await, open_alerts(&world).await.len()), (0, 0), "a device has come");
    world.clock.advance(31 * DAY);
    world.saw(&new.client("b"), &new, DAY).await;
    assert_eq!((is_new().await, open_alerts(&world).await), (1, vec![unused]), "and gone again");
    world.remove(&renewed).await.unwrap();
    assert_eq!(open_alerts(&world).await.len(), 1, "the CA is there still");
    world.remove(&old).await.unwrap();
    assert_eq!(open_alerts(&world).await.len(), 0, "it is gone");
    assert_eq!(is_new().await, 0);
}

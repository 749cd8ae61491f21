//! Sessions of all nodes, and what they say of a change.

use certward_lifecycle::{
    EvidenceOfNodes, LiveEvidence, LiveOffer, LiveSession, NAMED_MAX, ProposedTrust, RejectedDevice,
    SessionFilter, SessionsOfNode, SilentNodes, TrustChange,
};
use certward_pki::{ClientOffer, DeviceId, TlsType};
use certward_store::{NodeId, Role, Timestamp};

use crate::cluster::{Cluster, FakeGateway, deployment, name, names};

fn session(since: i64) -> LiveSession {
    LiveSession {
        device: Some(DeviceId([7; 16])),
        name: Some("CN=device".into()),
        address: ([192, 0, 2, 7], 50_123).into(),
        host: Some("a.test".into()),
        listener: "mqtts".to_owned(),
        tls_version: "1.3".to_owned(),
        since: Timestamp(since),
    }
}

fn with_sessions(id: &str, since: &[i64]) -> FakeGateway {
    let sessions = since.iter().copied().map(session).collect::<Vec<_>>();
    let sessions = SessionsOfNode { total: sessions.len() as u64, sessions };
    FakeGateway { node: Some(name(id)), sessions: Some(sessions), ..FakeGateway::default() }
}

/// Each session in a network of its own.
fn of_rsa(sessions: u64) -> LiveOffer {
    let offer = ClientOffer { signature_schemes: vec![0x0804], ..ClientOffer::default() };
    LiveOffer { offer, sessions, weight: sessions * 1_000_000, largest: sessions / 30 * 1_000_000 }
}

fn with_evidence(id: &str, refused: u64, host: &str) -> FakeGateway {
    let rejected = |name: &str| RejectedDevice { id: None, name: name.into(), reason: "No.".into() };
    // One device through each node.
    let named = (1..refused).map(|number| rejected(&format!("{id} {number}"))).chain([rejected("roaming")]);
    let evidence = LiveEvidence {
        sessions: 30,
        refused,
        not_judged: 2,
        named: named.collect(),
        hosts: vec![("a.test".into(), 20), (host.into(), 10)],
        offers: vec![of_rsa(30)],
    };
    FakeGateway { node: Some(name(id)), evidence, ..FakeGateway::default() }
}

fn change() -> TrustChange {
    let two_way = |ca: u8| ProposedTrust { tls_type: TlsType::TwoWay, client_cas: vec![vec![ca]] };
    TrustChange { today: two_way(1), proposed: two_way(2) }
}

#[tokio::test]
async fn sessions_of_all_nodes_are_listed_newest_first_and_the_rest_is_counted() {
    let cluster = Cluster::new().await;
    let first = cluster.joined_with(with_sessions("n1", &[10, 30])).await;
    let second = cluster.joined_with(with_sessions("n2", &[40, 20])).await;
    let without_gateway = cluster.node(None, vec![]).await;
    let _answering = [first.answers(None), second.answers(None)];
    for asked in [&first, &without_gateway] {
        let (d, all) = (deployment(), SessionFilter::All);
        let listed = asked.lifecycle.sessions(&d, &all, 10).await.unwrap().unwrap();
        let seen = |(node, session): &(NodeId, LiveSession)| (node.to_string(), session.since.0);
        let expected = [("n2", 40), ("n1", 30), ("n2", 20), ("n1", 10)].map(|(n, at)| (n.to_owned(), at));
        assert_eq!(listed.sessions.iter().map(seen).collect::<Vec<_>>(), expected);
        assert_eq!(listed.sessions[0].1, session(40), "as it was told");
        assert_eq!((listed.total, listed.silent), (4, names(&[])));
        let listed = asked.lifecycle.sessions(&d, &all, 1).await.unwrap().unwrap();
        assert_eq!((listed.sessions.len(), listed.total), (1, 4));
    }
}

#[tokio::test]
async fn a_node_that_identifies_no_device_is_named_and_leaves_open_which_are_connected() {
    let cluster = Cluster::new().await;
    let first = cluster.joined_with(with_sessions("n1", &[10, 20])).await;
    let second = cluster.joined_with(with_sessions("n2", &[30])).await;
    let _answering = [second.answers(None)];
    let (known, unknown) = (DeviceId([7; 16]), DeviceId([8; 16]));
    let filter = SessionFilter::Devices(vec![known]);
    let connected =
        async || first.lifecycle.connected_devices(&deployment(), &[known, unknown]).await.unwrap().unwrap();
    assert_eq!((connected().await.connected, connected().await.is_partial), ([known].into(), false));
    let anonymous = FakeGateway { node: Some(name("n3")), ..FakeGateway::default() };
    let third = cluster.joined_with(anonymous).await;
    let _answers = third.answers(None);
    assert_eq!((connected().await.connected, connected().await.is_partial), ([known].into(), true));
    let listed = first.lifecycle.sessions(&deployment(), &filter, 10).await.unwrap().unwrap();
    assert_eq!((listed.total, listed.anonymous, listed.silent), (3, vec![name("n3")], names(&[])));
}

#[tokio::test]
async fn evidence_is_summed_over_counted_nodes_and_a_silent_one_is_named() {
    let cluster = Cluster::new().await;
    let first = cluster.joined_with(with_evidence("n1", 15, "b.test")).await;
    let second = cluster.joined_with(with_evidence("n2", 15, "c.test")).await;
    // It drains: its devices go elsewhere.
    let draining = cluster.node_with(with_evidence("n3", 30, "d.test")).await;
    cluster.reported("n3", Role::Gateway).await;
    // Of a release that knows nothing but failed handshakes.
    let older = cluster.joined_with(with_evidence("n4", 30, "e.test")).await;
    let _answering =
        [second.answers(None), draining.answers(None), older.answers(Some(r#"{"version":1,"failures":[]}"#))];
    let evidence = first.lifecycle.live_evidence(&deployment(), &change()).await.unwrap();
    let EvidenceOfNodes { evidence, nodes, silent } = evidence.unwrap();
    let LiveEvidence { sessions, refused, not_judged, named, mut hosts, offers } = evidence;
    assert_eq!((sessions, refused, not_judged, named.len()), (60, 30, 4, NAMED_MAX));
    assert_eq!(named.iter().filter(|device| &*device.name == "roaming").count(), 1);
    hosts.sort();
    let expected = [("a.test", 40), ("b.test", 10), ("c.test", 10)].map(|(host, n)| (host.into(), n));
    assert_eq!(hosts, expected);
    assert_eq!(offers, [of_rsa(60)]);
    assert_eq!(nodes, 2);
    assert_eq!(silent, names(&["n4"]));
}

#[tokio::test]
async fn without_the_store_a_node_has_its_own_evidence() {
    let cluster = Cluster::new().await;
    let first = cluster.joined_with(with_evidence("n1", 1, "b.test")).await;
    let _second = cluster.joined_with(with_evidence("n2", 1, "b.test")).await;
    cluster.tamper("ALTER TABLE node_process RENAME TO elsewhere");
    let EvidenceOfNodes { evidence, silent, .. } =
        first.lifecycle.live_evidence(&deployment(), &change()).await.unwrap().unwrap();
    assert_eq!((evidence.sessions, silent), (30, SilentNodes::AllOthers));
}

//! A revoked device ends on every node, stays out, and does so without the database. No other
//! device notices.

use std::{net::SocketAddr, time::Instant};

use certward_store::{Clock as _, SystemClock};
use certward_tests::{
    Answer, Authority, Certward, Device, Leaf, PostgresServer, Scene, Session, Setup, effort, wait_until,
};
use serde_json::json;
use time::Duration;

const REVOCATIONS: &str = "/deployments/ge6a1a75/tls/revocations";

fn revoke(scene: &Scene, leaf: &Leaf) -> Answer {
    let revocation = json!({"certificate": leaf.pem, "reason": "lost"});
    scene.api().send("POST", REVOCATIONS, Some(&json!({"revocations": [revocation]}))).expect(201)
}

fn assert_revoked(device: &Device, to: SocketAddr, how: &str) {
    let refused = device.connect(to, Scene::HOST, "revoked").expect_err(how).to_string();
    assert!(refused.contains("CertificateRevoked"), "{how}: {refused}");
}

fn setup(store: &str) -> Setup {
    Setup { store: Some(store.to_owned()), ..Setup::default() }
}

#[test]
fn a_revoked_device_ends_on_each_of_three_nodes_and_no_other_device_notices() {
    let server = PostgresServer::shared();
    let store = server.database();
    let scene = Scene::with(setup(&store));
    let others = [(); 2].map(|()| Certward::start_beside(&scene.certward, setup(&store)));
    let nodes: Vec<SocketAddr> = [&scene.certward, &others[0], &others[1]].map(Certward::mqtts).into();
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let device = |leaf: &Leaf, is_tls12: bool| {
        let device = scene.device().with_identity(leaf);
        if is_tls12 { device.with_tls12() } else { device.with_tls13() }.with_resumption()
    };
    let fleet: Vec<Device> = (0..effort().revocation_fleet)
        .map(|n| device(&clients.client(&format!("device-{n}")), n % 2 == 0))
        .collect();
    let connect = |n: usize, device: &Device| {
        device.connect(nodes[n % nodes.len()], Scene::HOST, &format!("device-{n}")).unwrap()
    };
    let mut sessions: Vec<Session> = fleet.iter().enumerate().map(|(n, it)| connect(n, it)).collect();
    let revoked = clients.client("revoked");
    // In each version of TLS, through each node.
    let of_revoked: Vec<_> = nodes.iter().flat_map(|to| [(*to, false), (*to, true)]).collect();
    let with_tickets: Vec<_> = of_revoked.iter().map(|(_, is_tls12)| device(&revoked, *is_tls12)).collect();
    let mut ending: Vec<Session> = of_revoked
        .iter()
        .zip(&with_tickets)
        .enumerate()
        .map(|(n, ((to, _), device))| device.connect(*to, Scene::HOST, &format!("revoked-{n}")).unwrap())
        .collect();

    let began = Instant::now();
    let answer = revoke(&scene, &revoked).json();
    println!("answered after {:?}", began.elapsed());
    assert_eq!((&answer["silentNodes"], &answer["inEffect"]), (&json!([]), &json!(true)), "{answer}");
    for session in &mut ending {
        assert!(session.wait_closed().expect("an end"), "properly, with a close_notify");
    }
    println!("{} sessions ended after {:?}", ending.len(), began.elapsed());
    for ((to, is_tls12), device_with_ticket) in of_revoked.iter().zip(&with_tickets) {
        assert_revoked(device_with_ticket, *to, "with a ticket");
        assert_revoked(&device(&revoked, *is_tls12), *to, "without a ticket");
        assert_revoked(&device(&revoked.twin(), *is_tls12), *to, "with another signature");
    }
    for (n, (session, device)) in sessions.iter_mut().zip(&fleet).enumerate() {
        session.ping().unwrap_or_else(|error| panic!("{n} is undisturbed: {error}"));
        assert!(connect(n, device).is_resumed(), "{n}");
    }
    let id = answer["revocations"][0]["id"].as_str().expect("an id").to_owned();
    scene.api().send("DELETE", &format!("{REVOCATIONS}/{id}"), None).expect(204);
    for to in nodes {
        wait_until("its return", || device(&revoked, false).connect(to, Scene::HOST, "again").ok());
    }
}

#[test]
fn revocations_and_crls_hold_without_the_database_on_a_node_that_starts_from_its_replica() {
    let mut server = PostgresServer::start();
    let mut scene = Scene::with(setup(&server.database()));
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    wait_until("a whole snapshot", || scene.certward.log().contains("snapshot is whole").then_some(()));
    let [listed, on_crl, other] = ["listed", "on-crl", "other"].map(|name| clients.client(name));
    let device = |leaf: &Leaf| scene.device().with_identity(leaf);
    let devices = [&listed, &on_crl, &other].map(device);
    let resuming = device(&listed).with_resumption();
    scene.connect(&resuming, "listed").unwrap().ping().unwrap();

    let id = revoke(&scene, &listed).json()["revocations"][0]["id"].as_str().expect("an id").to_owned();
    let now = SystemClock.now().to_time();
    let crl = clients.crl_and_issuer(1, &[&on_crl], now - Duration::HOUR, now + Duration::DAY);
    let path = "/deployments/ge6a1a75/tls/crls/devices?stale=hard";
    let set = scene.api().try_send("PUT", path, "Content-Type: application/x-pem-file\r\n", &crl);
    assert_eq!(set.unwrap().expect(200).json()["silentNodes"], json!([]));
    let assert_holds = |scene: &Scene, when: &str| {
        let to = scene.certward.mqtts();
        assert_revoked(&devices[0], to, when);
        assert_revoked(&resuming, to, when);
        assert_revoked(&devices[1], to, when);
        scene.connect(&devices[2], when).unwrap().ping().unwrap();
    };
    assert_holds(&scene, "at once");
    server.stop();
    assert_holds(&scene, "without the database");
    // No wait: what is acknowledged is in the replica.
    scene.certward.kill();
    scene.certward.serve();
    assert_holds(&scene, "after a restart without the database");

    server.resume();
    wait_until("the database", || {
        let answer = scene.api().send("DELETE", &format!("{REVOCATIONS}/{id}"), None);
        (answer.status == 204).then_some(())
    });
    wait_until("its return", || scene.connect(&devices[0], "again").ok());
    assert_revoked(&devices[1], scene.certward.mqtts(), "the CRL stays");
}

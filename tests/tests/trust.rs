//! Trust is never wider than the last accepted version, in any failure.

use certward_tests::{Authority, EmbeddedDatabase, Packet, Scene, Session, Setup, wait_until};

/// Whether close_notify comes before the deadline.
fn closed(session: &mut Session) -> bool {
    session.wait_closed().is_ok()
}

#[test]
fn from_one_way_to_two_way_a_device_without_certificate_is_closed_and_not_admitted_again() {
    let scene = Scene::new();
    let clients = Authority::new("Device CA");
    let leaf = scene.run_one_way();
    let mut without = scene.connect(&scene.device(), "without").unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(clients.pem())).expect(200);
    assert!(closed(&mut without), "the new trust does not cover it");
    scene.api().wait_running(Scene::DEPLOYMENT);
    for device in [scene.device().with_tls12(), scene.device().with_tls13()] {
        scene.connect(&device, "without").expect_err("no certificate");
        let device = device.with_identity(&clients.client("with"));
        scene.connect(&device, "with").unwrap().ping().unwrap();
    }
}

#[test]
fn when_a_client_ca_goes_its_devices_go_and_the_others_stay() {
    let scene = Scene::new();
    let (staying, going) = (Authority::new("Device CA"), Authority::new("Device CA"));
    let leaf = scene.leaf();
    let both = format!("{}{}", staying.pem(), going.pem());
    scene.api().post_tls(Scene::DEPLOYMENT, &leaf.two_way(&both)).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let with = |authority: &Authority| scene.device().with_identity(&authority.client("device"));
    let mut stays = scene.connect(&with(&staying), "stays").unwrap();
    let mut goes = scene.connect(&with(&going), "goes").unwrap();

    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(staying.pem())).expect(200);
    assert!(closed(&mut goes));
    scene.api().wait_running(Scene::DEPLOYMENT);
    stays.ping().expect("it is trusted as before");
    scene.connect(&with(&going), "goes").expect_err("its CA is gone");
    scene.connect(&with(&staying), "stays-2").unwrap();
}

#[test]
fn a_new_leaf_alone_disturbs_no_device() {
    let scene = Scene::new();
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let device = scene.device().with_identity(&clients.client("device"));
    let mut session = scene.connect(&device, "device").unwrap();
    let renewed = scene.leaf();
    scene.api().put_tls(Scene::DEPLOYMENT, &renewed.two_way(clients.pem())).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    session.ping().unwrap();
    assert_eq!(scene.connect(&device, "next").unwrap().leaf(), renewed.der);
}

#[test]
fn the_same_leaf_with_another_ca_is_proven_again() {
    let scene = Scene::new();
    let (old, new) = (Authority::new("Device CA"), Authority::new("Device CA"));
    let leaf = scene.run_two_way(&old);
    let answer = scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(new.pem())).expect(200);
    assert_eq!(answer.tls_status(), "pending", "what runs is the same leaf with the old CA");
    scene.api().wait_running(Scene::DEPLOYMENT);
    let with = |authority: &Authority| scene.device().with_identity(&authority.client("device"));
    scene.connect(&with(&new), "new").expect("it is running");
    scene.connect(&with(&old), "old").expect_err("the old CA is gone");
}

#[test]
fn a_session_ticket_does_not_lead_around_a_change_of_trust() {
    for tls12 in [true, false] {
        let scene = Scene::new();
        let clients = Authority::new("Device CA");
        let leaf = scene.run_one_way();
        let device = if tls12 { scene.device().with_tls12() } else { scene.device().with_tls13() };
        let device = device.with_resumption();
        scene.connect(&device, "first").unwrap().ping().unwrap();
        let resumed = scene.connect(&device, "second").unwrap();
        assert!(resumed.is_resumed(), "TLS 1.2 {tls12}: within a scope, tickets are of use");
        drop(resumed);

        scene.api().put_tls(Scene::DEPLOYMENT, &leaf.two_way(clients.pem())).expect(200);
        scene.api().wait_running(Scene::DEPLOYMENT);
        scene.connect(&device, "third").expect_err("a ticket of before the change is no certificate");
    }
}

/// The store damages every key sealed from now on.
fn scene_with_damaging_store() -> (Scene, Authority, certward_tests::Leaf) {
    let mut scene = Scene::with(Setup { prove_within: "2s", ..Setup::default() });
    let leaf = scene.run_one_way();
    scene.certward.stop();
    let mut database = EmbeddedDatabase::with_table(&scene.certward.data(), SEALED_KEYS);
    database.execute(DAMAGE);
    drop(database);
    scene.certward.serve();
    scene.api().wait_running(Scene::DEPLOYMENT);
    (scene, Authority::new("Device CA"), leaf)
}

const SEALED_KEYS: &str = "version";
const DAMAGE: &str = "CREATE TRIGGER damage AFTER INSERT ON version BEGIN \
     UPDATE version SET sealed_key = zeroblob(length(sealed_key)) \
     WHERE deployment = new.deployment AND version = new.version; END";

#[test]
fn a_version_whose_key_is_damaged_fails_with_a_reason_and_the_last_good_one_stays() {
    let (scene, _, before) = scene_with_damaging_store();
    let mut session = scene.connect(&scene.device(), "stays").unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    let view = scene.api().wait_status(Scene::DEPLOYMENT, "failed");
    assert!(view["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{view}");
    assert_eq!(scene.connect(&scene.device(), "new").unwrap().leaf(), before.der);
    session.ping().unwrap();
}

#[test]
fn a_narrowing_version_whose_key_is_damaged_fails_closed_and_alone() {
    let (scene, clients, _) = scene_with_damaging_store();
    let mut without = scene.connect(&scene.device(), "without").unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().two_way(clients.pem())).expect(200);
    let view = scene.api().wait_status(Scene::DEPLOYMENT, "failed");
    assert!(view["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{view}");
    assert!(closed(&mut without), "what the new trust does not cover is closed");
    let device = scene.device().with_identity(&clients.client("device"));
    for device in
        [scene.device(), device.with_tls12(), scene.device().with_identity(&clients.client("device"))]
    {
        device
            .handshake(scene.certward.mqtts(), Scene::HOST)
            .and_then(|mut session| session.exchange(&Packet::connect("any"), &Packet::CONNACK))
            .expect_err("no device is accepted until it can be served");
    }
}

#[test]
fn deployments_share_nothing() {
    let scene = Scene::new();
    let clients = Authority::new("Device CA");
    scene.run_one_way();
    let api = scene.api();
    api.create_deployment("other", &scene.broker.upstream(), &["other.example"]);
    api.post_tls("other", &scene.authority.server(&["other.example"]).two_way(clients.pem())).expect(200);
    api.wait_running("other");

    // A ticket is invalid at another deployment of the same issuer.
    let device = scene.device().with_resumption();
    scene.connect(&device, "one").unwrap().ping().unwrap();
    device.connect(scene.certward.mqtts(), "other.example", "two").expect_err("two-way");
    api.delete_tls("other").expect(204);
    wait_until("end of the deletion", || (api.tls("other").body == "{}").then_some(()));
    scene.connect(&device, "three").expect("the first is served as before");
    device.connect(scene.certward.mqtts(), "other.example", "four").expect_err("no certificate is set");
}

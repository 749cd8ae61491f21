//! The whole program with PostgreSQL as its store.

use certward_tests::{Authority, Certward, PostgresServer, Scene, Setup, wait_until};
use serde_json::json;

fn scene(server: &PostgresServer) -> Scene {
    Scene::with(Setup { store: Some(server.database()), ..Setup::default() })
}

#[test]
fn the_main_job_is_done_from_end_to_end() {
    let server = PostgresServer::shared();
    let mut scene = scene(&server);
    let clients = Authority::new("Device CA");
    scene.run_one_way();
    let subscriber = scene.subscribe("subscriber", "greeting", &[]);
    let mut publish = scene.tool("mosquitto_pub", &["-q", "1", "-t", "greeting", "-m", "by PostgreSQL"]);
    assert!(publish.status().unwrap().success());
    subscriber.wait_for("by PostgreSQL", 1);

    let renewed = scene.leaf();
    scene.api().put_tls(Scene::DEPLOYMENT, &renewed.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "renewed").unwrap().leaf(), renewed.der);

    assert!(scene.certward.stop().success());
    scene.certward.serve();
    assert_eq!(scene.connect(&scene.device(), "restarted").unwrap().leaf(), renewed.der);
    assert_eq!(scene.api().tls(Scene::DEPLOYMENT).tls_status(), "running");
    scene.certward.kill();
    scene.certward.serve();
    scene.api().wait_running(Scene::DEPLOYMENT);

    scene.api().put_tls(Scene::DEPLOYMENT, &renewed.two_way(clients.pem())).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    scene.connect(&scene.device(), "without").expect_err("two-way");
    let device = scene.device().with_identity(&clients.client("device"));
    let mut session = scene.connect(&device, "with").unwrap();

    scene.api().delete_tls(Scene::DEPLOYMENT).expect(204);
    session.wait_closed().unwrap();
    wait_until("end of the deletion", || {
        (scene.api().tls(Scene::DEPLOYMENT).json() == json!({})).then_some(())
    });
}

#[test]
fn a_database_that_is_gone_stops_changes_not_service_and_comes_back() {
    let mut server = PostgresServer::start();
    let scene = scene(&server);
    let leaf = scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "stays").unwrap();
    server.stop();
    let next = scene.leaf();
    let answer = scene.api().put_tls(Scene::DEPLOYMENT, &next.one_way()).expect(503);
    assert_eq!(answer.code(), "STORE_UNAVAILABLE");
    assert_eq!(scene.connect(&scene.device(), "meanwhile").unwrap().leaf(), leaf.der);
    session.ping().unwrap();

    server.resume();
    wait_until("recovery", || {
        let answer = scene.api().put_tls(Scene::DEPLOYMENT, &next.one_way());
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    });
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "after").unwrap().leaf(), next.der);
    session.ping().unwrap();
}

#[test]
fn of_fifty_parallel_changes_exactly_six_pass() {
    let server = PostgresServer::shared();
    let setup = Setup { store: Some(server.database()), ..Setup::with_contract_limits() };
    let scene = Scene::with(setup);
    scene.run_one_way();
    let (api, leaf) = (scene.api(), scene.leaf());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let put = || api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).status;
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(put)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(429)), (6, 44), "{statuses:?}");
}

#[test]
fn init_says_that_there_is_a_store_already() {
    let server = PostgresServer::shared();
    let store = server.database();
    let first = Certward::prepare(Setup { store: Some(store.clone()), ..Setup::default() });
    assert!(first.run_init(&[]).status.success());
    let second = Certward::prepare(Setup { store: Some(store), ..Setup::default() });
    let output = second.run_init(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_new_process_takes_over_and_the_node_stays_the_same() {
    let server = PostgresServer::shared();
    let mut scene = Scene::with(Setup { store: Some(server.database()), drain: "1h", ..Setup::default() });
    scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "staying").unwrap();
    let mut before = scene.certward.take_over();
    let leaf = scene.leaf();
    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "new").unwrap().leaf(), leaf.der);
    session.ping().unwrap();
    drop(session);
    assert!(before.wait().success());
    // Its end did not give up the node.
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
}

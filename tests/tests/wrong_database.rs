//! A wrong database in the list of servers is never used.

use certward_tests::{Certward, PostgresServer, Scene, Setup, wait_until};

fn name(url: &str) -> &str {
    url.rsplit('/').next().expect("a name")
}

/// Except volatile values.
fn everything(server: &PostgresServer, url: &str) -> String {
    let tables = ["deployment", "feed", "audit", "node", "api_key", "version", "secret"];
    let count = |table: &&str| format!("(SELECT count(*) FROM {table})");
    let counts: Vec<String> = tables.iter().map(count).collect();
    server.query(name(url), &format!("SELECT {}", counts.join(", ")))
}

fn assert_refused(scene: &Scene) {
    let answer = scene.api().tls(Scene::DEPLOYMENT).expect(503);
    assert_eq!(answer.code(), "STORE_UNAVAILABLE");
}

#[test]
fn a_node_keeps_to_its_own_database_and_serves_without_it_rather_than_from_anothers() {
    let mut right = PostgresServer::start_on_tcp();
    let wrong = PostgresServer::start_on_tcp();
    let [right_url, wrong_url] = [&right, &wrong].map(|server| server.tcp_url(name(&server.database())));
    let setup = |store: String| Setup { store: Some(store), ..Setup::default() };

    // Another fleet's database and master key.
    let others = Certward::prepare(setup(wrong_url.clone()));
    assert!(others.run_init(&[]).status.success());
    let before = everything(&wrong, &wrong_url);

    let mut scene = Scene::with(setup(right_url.clone()));
    let leaf = scene.run_one_way();
    wait_until("a whole snapshot", || scene.certward.log().contains("snapshot is whole").then_some(()));
    assert!(scene.certward.stop().success());

    scene.certward.use_store(format!("{wrong_url} {right_url}"));
    scene.certward.serve();
    let log = scene.certward.log();
    assert!(
        log.contains("this server is not used: it is another database than the one that this node has used"),
        "{log}"
    );
    let renewed = scene.leaf();
    scene.api().put_tls(Scene::DEPLOYMENT, &renewed.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_ne!(leaf.der, renewed.der);

    // Nor by a new process without the right one.
    right.stop();
    assert_refused(&scene);
    scene.certward.kill();
    scene.certward.serve();
    assert_refused(&scene);
    assert_eq!(scene.connect(&scene.device(), "meanwhile").unwrap().leaf(), renewed.der);

    right.resume();
    wait_until("recovery", || {
        let answer = scene.api().tls(Scene::DEPLOYMENT);
        (answer.status == 200).then_some(())
    });
    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "after").unwrap().leaf(), leaf.der);
    assert_eq!(everything(&wrong, &wrong_url), before);
}

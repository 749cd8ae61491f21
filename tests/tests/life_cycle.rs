//! Deletion, restart, shutdown.

use certward_tests::{Scene, wait_until};
use serde_json::json;

#[test]
fn delete_disconnects_the_deployments_devices_only() {
    let scene = Scene::new();
    scene.run_one_way();
    let api = scene.api();
    api.create_deployment("other", &scene.broker.upstream(), &["other.example"]);
    api.post_tls("other", &scene.authority.server(&["other.example"]).one_way()).expect(200);
    api.wait_running("other");
    let mut leaving = scene.connect(&scene.device(), "leaving").unwrap();
    let mut staying = scene.device().connect(scene.certward.mqtts(), "other.example", "staying").unwrap();

    let answer = api.delete_tls(Scene::DEPLOYMENT).expect(204);
    assert_eq!(answer.body, "");
    assert!(leaving.wait_closed().unwrap(), "a proper end of TLS");
    wait_until("end of the deletion", || (api.tls(Scene::DEPLOYMENT).json() == json!({})).then_some(()));
    scene.connect(&scene.device(), "late").expect_err("no certificate is set");
    staying.ping().unwrap();
}

#[test]
fn after_delete_a_new_certificate_may_be_posted() {
    let scene = Scene::new();
    scene.run_one_way();
    scene.api().delete_tls(Scene::DEPLOYMENT).expect(204);
    let leaf = scene.run_one_way();
    assert_eq!(scene.connect(&scene.device(), "again").unwrap().leaf(), leaf.der);
}

#[test]
fn removing_the_deployment_takes_its_certificate_and_devices_along() {
    let scene = Scene::new();
    scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "device").unwrap();
    let path = format!("/deployments/{}", Scene::DEPLOYMENT);
    scene.api().send("DELETE", &path, None).expect(204);
    assert!(session.wait_closed().unwrap());
    scene.api().tls(Scene::DEPLOYMENT).expect(404);
    wait_until("refusal of its host", || scene.connect(&scene.device(), "late").err());
}

#[test]
fn a_restart_keeps_running_and_serves_before_it_says_ready() {
    let mut scene = Scene::new();
    let leaf = scene.run_one_way();
    for _ in 0..2 {
        assert!(scene.certward.stop().success());
        scene.certward.serve();
        let session =
            scene.connect(&scene.device(), "after").expect("it serves from the first moment of /readyz");
        assert_eq!(session.leaf(), leaf.der);
        assert_eq!(scene.api().tls(Scene::DEPLOYMENT).tls_status(), "running");
    }
}

#[test]
fn sigterm_ends_every_connection_properly_and_the_program_with_success() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let sessions: Vec<_> =
        (0..5).map(|number| scene.connect(&scene.device(), &format!("device-{number}")).unwrap()).collect();
    scene.certward.signal(rustix::process::Signal::TERM);
    for mut session in sessions {
        assert!(session.wait_closed().unwrap(), "a proper end of TLS");
    }
    assert!(scene.certward.process().wait().success());
}

#[test]
fn health_readiness_and_metrics_are_told() {
    let scene = Scene::new();
    scene.run_one_way();
    let _session = scene.connect(&scene.device(), "device").unwrap();
    let at = |path: &str| scene.api().try_send_at("GET", path, "", "").unwrap();
    at("/healthz").expect(200);
    at("/readyz").expect(200);
    let metrics = at("/metrics").expect(200).body;
    assert!(metrics.contains("certward_") && !metrics.contains("# EOF"), "{metrics}");
    let accept = "Accept: application/openmetrics-text\r\n";
    let metrics = scene.api().try_send_at("GET", "/metrics", accept, "").unwrap().expect(200).body;
    assert!(metrics.trim_end().ends_with("# EOF"), "OpenMetrics text");
}

#[test]
fn the_log_says_who_changed_which_certificate_and_that_it_is_proven() {
    let scene = Scene::new();
    scene.run_one_way();
    let api = scene.api();
    api.put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    api.wait_running(Scene::DEPLOYMENT);
    api.put_tls("not-there", &scene.leaf().one_way()).expect(404);
    let log = scene.certward.log();
    let line = |holds: &[&str]| log.lines().any(|line| holds.iter().all(|part| line.contains(part)));
    let (id, key) = (format!("deployment.id={}", Scene::DEPLOYMENT), format!("key=\"{}\"", api.key));
    assert!(line(&["INFO", "method=\"PUT\"", "http_status=200", &id, &key]), "{log}");
    assert!(line(&["INFO", "proven on this node", &id]), "{log}");
    assert!(!log.contains("not-there"), "what is not there may be anything: {log}");
}

//! A broker with several addresses, and a deployment with limits, by the command line.

use std::net::TcpListener;

use certward_tests::{Broker, Scene, wait_until};
use serde_json::Value;

fn set(scene: &Scene, arguments: &[&str]) {
    let command = [&["deployment", "set", Scene::DEPLOYMENT][..], arguments].concat();
    let output = scene.certward.cli(&command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Refuses: no other test listens on this loopback address.
fn dead() -> String {
    TcpListener::bind(("127.0.0.9", 0)).unwrap().local_addr().unwrap().to_string()
}

#[test]
fn devices_go_to_the_second_broker_while_the_first_is_gone_and_come_back_to_it() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let second = Broker::start(scene.certward.folder());
    let (dead, first) = (dead(), scene.broker.upstream());
    set(&scene, &["--upstream", &format!("{dead},{first},{}", second.upstream())]);
    let api = scene.api();
    let down = || api.metric("certward_gateway_upstreams_down");

    wait_until("a first address that is down", || {
        scene.connect(&scene.device(), "first").expect("the second address answers").ping().unwrap();
        (down() >= 1.0).then_some(())
    });
    let (certward, device) = (scene.certward.mqtts(), scene.device());
    scene.restart_broker(|| {
        for n in 0..10 {
            let mut session =
                device.connect(certward, Scene::HOST, &format!("d{n}")).expect("the third answers");
            session.ping().unwrap();
        }
        assert!(down() >= 2.0);
    });
    wait_until("the way back", || {
        scene.connect(&device, "back").unwrap().ping().unwrap();
        (down() < 2.0).then_some(())
    });
}

#[test]
fn a_deployment_over_its_limit_refuses_the_next_device_and_the_operator_sees_why() {
    let scene = Scene::new();
    scene.run_one_way();
    set(&scene, &["--connections", "1"]);
    let only = wait_until("the limit", || {
        let only = scene.connect(&scene.device(), "only").ok()?;
        scene.connect(&scene.device(), "one-too-many").err().map(|_| only)
    });
    let output = scene.certward.cli(&["tls", "failures", Scene::DEPLOYMENT, "--json"]);
    let failures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(failures[0]["cause"], "deployment_connections_max", "{failures}");
    let shown = scene.certward.cli(&["deployment", "show", Scene::DEPLOYMENT]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("1 at once"));

    set(&scene, &["--connections", "0"]);
    wait_until("room", || scene.connect(&scene.device(), "another").ok());
    drop(only);
}

#[test]
fn an_operator_who_names_a_wrong_broker_is_told_by_the_log() {
    let scene = Scene::new();
    scene.run_one_way();
    set(&scene, &["--upstream", &scene.certward.mqtts().to_string()]);
    let lines = || {
        let log = scene.certward.log();
        log.lines()
            .filter(|line| line.contains("cannot be used: its address"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    wait_until("a line", || {
        scene.device().handshake(scene.certward.mqtts(), Scene::HOST).unwrap();
        let _ = scene.connect(&scene.device(), "device");
        (!lines().is_empty()).then_some(())
    });
    for _ in 0..5 {
        scene.connect(&scene.device(), "device").expect_err("there is no broker");
    }
    let [line] = &lines()[..] else { panic!("once a minute: {:?}", lines()) };
    assert!(line.contains("WARN") && line.contains(Scene::DEPLOYMENT), "{line}");
    assert!(line.contains("one of this program's own listeners"), "{line}");
}

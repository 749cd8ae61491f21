//! All source ports towards a broker are in use, in a network namespace with few ports.

use std::{env, fs, process::Command};

use certward_tests::{Scene, run};

const INSIDE: &str = "CERTWARD_TEST_FEW_PORTS";
const PORTS: usize = 60;

/// `false`: not permitted, as in some containers.
fn inside_a_network_of_its_own(test: &str) -> bool {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net"]);
        unshare
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        return false;
    }
    let set_up = format!(
        "ip link set lo up && echo 40000 {} > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"",
        40_000 + PORTS - 1
    );
    let program = env::current_exe().unwrap();
    let mut inside = unshare();
    inside.args(["sh", "-c", &set_up, "sh"]).arg(program).args(["--exact", test, "--nocapture"]);
    let output = run(inside.env(INSIDE, "1"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    assert!(said(&output.stdout).contains("1 passed"), "{}", said(&output.stdout));
    true
}

#[test]
fn a_change_is_proven_though_no_port_towards_the_broker_is_left() {
    if env::var_os(INSIDE).is_none() {
        if !inside_a_network_of_its_own("a_change_is_proven_though_no_port_towards_the_broker_is_left") {
            eprintln!("not run: this machine permits no network namespace");
        }
        return;
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    assert!(range.starts_with("40000"), "{range}");
    let scene = Scene::new();
    scene.run_one_way();
    // The broker is reached from 127.0.0.1, like the listener and the proofs. An implicitly bound
    // port, as a device's here, can be shared with other targets.
    let device = scene.device();
    let connected: Vec<_> =
        (0..=PORTS).map_while(|n| scene.connect(&device, &format!("device-{n}")).ok()).collect();
    assert!(connected.len() <= PORTS, "there are ports left");
    let exhausted = r#"certward_gateway_upstream_failures_total{reason="source_ports_exhausted"}"#;
    assert!(scene.api().metric(exhausted) >= 1.0);
    let next = scene.authority.server(&[Scene::HOST]);
    scene.api().put_tls(Scene::DEPLOYMENT, &next.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
}

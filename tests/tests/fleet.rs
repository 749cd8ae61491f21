//! Many devices: idle ones are cheap, new ones connect beside them, all survive a broker's restart.

use std::{net::Ipv4Addr, time::Duration};

use certward_tests::{Fleet, Route, Scene, Setup, effort, newcomers, wait_within};

const PARALLEL_HANDSHAKES: usize = 32;
/// Thousands of devices on two busy cores.
const FLEET_TIMEOUT: Duration = Duration::from_secs(120);
/// KiB that allocators keep per closed device, and in total.
const KEPT_OF_EACH: u64 = 12;
const KEPT: u64 = 8 * 1024;

fn scene() -> (Scene, Route) {
    let scene = Scene::with(Setup { log_level: "info", ..Setup::default() });
    scene.run_one_way();
    scene.connect(&scene.device(), "first").expect("all is quiet");
    let route = scene.route([Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)]);
    (scene, route)
}

fn all_connected(fleet: &Fleet, devices: usize) {
    wait_within(FLEET_TIMEOUT, "fleet", || (fleet.connected() == devices).then_some(()));
}

#[test]
fn a_silent_fleet_rests_lets_new_ones_in_and_leaves_nothing() {
    let devices = effort().fleet;
    let (mut scene, route) = scene();
    scene.certward.process().wait_resting();
    let before = scene.certward.process().resources();

    let fleet = Fleet::start(route.clone(), devices, PARALLEL_HANDSHAKES);
    all_connected(&fleet, devices);
    scene.certward.process().wait_resting();
    let with_all = scene.certward.process().resources();
    println!(
        "{devices} devices: {:.1} KiB each, {} descriptors",
        (with_all.resident_kib - before.resident_kib) as f64 / devices as f64,
        with_all.descriptors
    );
    assert!(with_all.descriptors <= before.descriptors + 2 * devices, "two each: {with_all:?}");

    let new = newcomers(route, 50, Duration::from_secs(1));
    assert_eq!(new.failures, Vec::<String>::new());
    assert_eq!(scene.api().try_send_at("GET", "/healthz", "", "").unwrap().status, 200);
    assert_eq!((fleet.connected(), fleet.failed()), (devices, 0), "{:?}", fleet.failures());

    fleet.stop();
    scene.certward.process().wait_recovered(&before, KEPT + KEPT_OF_EACH * devices as u64);
}

#[test]
fn a_fleet_finds_its_broker_again_when_that_was_gone() {
    let devices = effort().fleet;
    let (mut scene, route) = scene();
    scene.certward.process().wait_resting();
    let before = scene.certward.process().resources();
    let fleet = Fleet::start(route, devices, PARALLEL_HANDSHAKES);
    all_connected(&fleet, devices);
    let with_all = scene.certward.process().resources();

    scene.restart_broker(|| {
        wait_within(FLEET_TIMEOUT, "end of all connections", || (fleet.connected() == 0).then_some(()));
        wait_within(FLEET_TIMEOUT, "failures", || (fleet.failed() >= devices / 2).then_some(()));
    });
    all_connected(&fleet, devices);
    let again = scene.certward.process().resources();
    println!("{devices} devices are back after {} failures; {with_all:?}, {again:?}", fleet.failed());
    assert!(again.resident_kib <= with_all.resident_kib + KEPT, "what the first took is used again");

    fleet.stop();
    scene.certward.process().wait_recovered(&before, KEPT + KEPT_OF_EACH * devices as u64);
}

//! SIGTERM: devices are closed over the drain time, and probes report it.

use certward_tests::{Scene, Setup, wait_until};
use rustix::process::Signal;

#[test]
fn a_node_that_drains_says_that_it_is_not_ready_and_a_second_signal_cuts_it_short() {
    let mut scene = Scene::with(Setup { drain: "1h", ..Setup::default() });
    scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "staying").unwrap();
    scene.certward.signal(Signal::TERM);
    let get = |path: &str| scene.api().try_send_at("GET", path, "", "").unwrap().status;
    wait_until("readiness reports the drain", || (get("/readyz") == 503).then_some(()));
    assert_eq!(get("/healthz"), 200, "it is still healthy");
    assert!(scene.api().metric("certward_gateway_connections") >= 1.0);
    scene.connect(&scene.device(), "new").expect_err("no new device");
    session.ping().unwrap();
    scene.certward.signal(Signal::TERM);
    assert!(scene.certward.process().wait().success());
}

#[test]
fn every_device_gets_a_close_notify_within_the_drain() {
    let mut scene = Scene::with(Setup { drain: "1s", ..Setup::default() });
    scene.run_one_way();
    let device = scene.device();
    let mut sessions: Vec<_> =
        (0..20).map(|number| scene.connect(&device, &format!("device-{number}")).unwrap()).collect();
    scene.certward.signal(Signal::TERM);
    for session in &mut sessions {
        assert!(session.wait_closed().unwrap());
    }
    assert!(scene.certward.process().wait().success());
}

//! `certward healthcheck`, the health check of containers.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use certward_tests::{Authority, Certward, Scene, Setup, run, wait_until};
use rustix::process::Signal;

/// Exit code, and what it printed.
fn healthcheck(certward: &Certward) -> (i32, String) {
    let output = run(certward.cli_without_key(&["healthcheck", "--config"]).arg(certward.config()));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn it_asks_the_configured_address_without_a_key_by_http_and_https() {
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new("API CA").server_named("api", &["api.example"]).write(folder.path(), "api");
    for api_certificate in [None, Some(files)] {
        let mut certward = Certward::start_with(Setup { api_certificate, ..Setup::default() });
        let (code, text) = healthcheck(&certward);
        assert!(code == 0 && text.contains("\"status\":\"ready\""), "{code} {text}");
        certward.stop();
        let (code, text) = healthcheck(&certward);
        assert!(code == 1 && text.contains("is `certward serve` running"), "{code} {text}");
    }
}

#[test]
fn a_node_that_drains_is_not_ready() {
    let mut scene = Scene::with(Setup { drain: "1h", ..Setup::default() });
    scene.run_one_way();
    let session = scene.connect(&scene.device(), "staying").unwrap();
    scene.certward.signal(Signal::TERM);
    let text = wait_until("a node that is not ready", || {
        let (code, text) = healthcheck(&scene.certward);
        (code == 1).then_some(text)
    });
    assert!(text.contains("/readyz answers 503") && text.contains("not ready"), "{text}");
    drop(session);
    assert!(scene.certward.process().wait().success());
}

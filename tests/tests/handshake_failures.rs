//! Who did not get in, and why: as an operator asks for it.

use certward_tests::{Authority, Scene, wait_until};
use serde_json::Value;

#[test]
fn the_command_line_shows_who_did_not_get_in_and_what_to_do() {
    let scene = Scene::new();
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    scene.connect(&scene.device(), "nobody").expect_err("no certificate");
    let stranger = scene.device().with_identity(&Authority::new("Another CA").client("stranger"));
    scene.connect(&stranger.with_tls12(), "stranger").expect_err("another CA");

    let shown = wait_until("both failures", || {
        let output = scene.certward.cli(&["tls", "failures", Scene::DEPLOYMENT, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        (shown.as_array().unwrap().len() == 2).then_some(shown)
    });
    let is = |at: usize, cause: &str, version: &str| {
        assert_eq!(
            (&shown[at]["cause"], &shown[at]["tlsVersion"]),
            (&cause.into(), &version.into()),
            "{shown}"
        );
        assert_eq!(shown[at]["serverName"], Scene::HOST);
    };
    is(0, "certificate_unknown_issuer", "1.2");
    is(1, "certificate_required", "1.3");
    let table = scene.certward.cli(&["tls", "failures", Scene::DEPLOYMENT]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("certificate_required") && table.contains("Give the device a certificate"),
        "{table}"
    );
}

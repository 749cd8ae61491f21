//! The list of refused devices and its causes.

use std::process::Command;

use certward_tests::{Authority, Scene, Setup, run, wait_until};
use serde_json::Value;

#[test]
fn the_command_line_lists_refused_devices_and_remedies() {
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

#[test]
fn what_old_devices_lack_is_told_by_their_own_hellos() {
    let setup = Setup { bound_deployment: Some(Scene::DEPLOYMENT), ..Setup::default() };
    let scene = Scene::with(setup);
    scene.run_one_way();
    // OpenSSL omits the signatures before TLS 1.2, and the groups without ECDHE.
    let cases: [(&[&str], &str); 8] = [
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], "no_common_version"),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "no_common_version"),
        (&["-tls1_2", "-cipher", "AES128-SHA"], "no_common_cipher"),
        (&["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "no_common_cipher"),
        (&["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], "no_common_cipher"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "no_common_cipher"),
        (&["-tls1_2", "-sigalgs", "RSA+SHA256"], "no_common_signature"),
        (&["-tls1_2", "-groups", "secp521r1"], "no_common_group"),
    ];
    let path = format!("/deployments/{}/tls/failures", Scene::DEPLOYMENT);
    let failures = || scene.api().get(&path).expect(200).json().as_array().unwrap().clone();
    for (number, (arguments, cause)) in cases.into_iter().enumerate() {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &scene.certward.bound().to_string()]);
        openssl.args(["-servername", Scene::HOST]).args(arguments);
        assert!(!run(&mut openssl).status.success(), "{arguments:?}");
        let newest = wait_until("the failure", || {
            let failures = failures();
            (failures.len() == number + 1).then(|| failures[0].clone())
        });
        assert_eq!(newest["cause"], cause, "{arguments:?}");
    }
}

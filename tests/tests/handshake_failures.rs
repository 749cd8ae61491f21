//! The list of refused devices and its causes.

use std::process::{Command, Stdio};

use certward_tests::{Authority, Scene, Setup, run, wait_until};
use serde_json::{Value, json};

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
fn a_refused_certificate_is_shown_and_the_ca_that_it_needs_is_named() {
    let setup = Setup { bound_deployment: Some(Scene::DEPLOYMENT), ..Setup::default() };
    let scene = Scene::with(setup);
    let clients = Authority::new("Device CA");
    scene.run_two_way(&clients);
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let output = run(Command::new("openssl").args(arguments.split('|')).current_dir(folder.path()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let self_issued = |name: &str, subject: &str| {
        openssl(&format!(
            "req|-x509|-newkey|ec|-pkeyopt|ec_paramgen_curve:P-256|-nodes|-days|99|-subj|{subject}|-keyout|{name}.key|-out|{name}.pem"
        ));
    };
    self_issued("other", "/O=Example/CN=Other CA");
    self_issued("namesake", "/CN=Device CA");
    // Without an extension file: version 1.
    let issue = |name: &str, issuer: &str, subject: &str, more: &str| {
        openssl(&format!(
            "req|-new|-newkey|ec|-pkeyopt|ec_paramgen_curve:P-256|-nodes|-utf8|-subj|{subject}|-keyout|{name}.key|-out|{name}.csr"
        ));
        openssl(&format!(
            "x509|-req|-in|{name}.csr|-CA|{issuer}.pem|-CAkey|{issuer}.key|-out|{name}.pem{more}"
        ));
    };
    issue("version1", "other", "/CN=meter-7", "");
    std::fs::write(folder.path().join("v3"), "basicConstraints=CA:FALSE\n").unwrap();
    issue("meter", "other", "/CN=meter-8", "|-extfile|v3|-set_serial|0xab01");
    issue("hostile", "other", "/CN=a\u{1b}[2J\u{202e}b", "|-extfile|v3");
    issue("rekeyed", "namesake", "/CN=meter-9", "|-extfile|v3");
    // Name, shown subject and issuer, the remedy.
    let add = "Add the CA \"O=Example, CN=Other CA\" to the client CAs: certward trust add ge6a1a75 ";
    let cases = [
        ("version1", "CN=meter-7", "O=Example, CN=Other CA", add),
        ("meter", "CN=meter-8", "O=Example, CN=Other CA", add),
        ("hostile", "CN=a\\u{1b}[2J\\u{202e}b", "O=Example, CN=Other CA", add),
        (
            "rekeyed",
            "CN=meter-9",
            "CN=Device CA",
            "A CA \"CN=Device CA\" is among the client CAs, but its key ",
        ),
    ];
    let path = format!("/deployments/{}/tls/failures", Scene::DEPLOYMENT);
    let mut number = 0;
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, subject, issuer, remedy) in cases {
            let mut device = Command::new("openssl");
            device.args(["s_client", "-connect", &scene.certward.bound().to_string(), version]);
            device.args(["-servername", Scene::HOST, "-cert", &format!("{name}.pem")]);
            device.args(["-key", &format!("{name}.key")]).current_dir(folder.path());
            run(device.stdin(Stdio::null()));
            number += 1;
            let newest = wait_until("the failure", || {
                let failures = scene.api().get(&path).expect(200).json();
                let failures = failures.as_array().unwrap();
                (failures.len() == number).then(|| failures[0].clone())
            });
            let shown = &newest["clientCertificate"];
            assert_eq!((&shown["subject"], &shown["issuer"]), (&subject.into(), &issuer.into()), "{newest}");
            assert!(newest["remedy"].as_str().unwrap().starts_with(remedy), "{newest}");
            assert_eq!(newest["neededCa"], json!({"name": issuer, "nameKnown": name == "rekeyed"}));
            let printed = openssl(&format!("x509|-in|{name}.pem|-noout|-serial|-fingerprint|-sha256"));
            let printed = printed.to_lowercase().replace(':', "");
            for fact in ["serial", "fingerprint"] {
                assert!(
                    printed.contains(&format!("{}\n", shown[fact].as_str().unwrap())),
                    "{fact}: {newest}"
                );
            }
        }
    }
    let list = scene.certward.cli(&["tls", "failures", Scene::DEPLOYMENT]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let shown = ["    subject  CN=meter-8\n", "    serial   ab01\n", "    ends     ", "    sha256   ", add];
    assert!(shown.iter().all(|line| list.contains(line)), "{list}");
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

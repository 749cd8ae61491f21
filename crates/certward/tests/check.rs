//! `certward check`: the verdict without a server.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::{fs, path::Path};

use certward_test_support::{Authority, server_params};
use rcgen::{KeyPair, date_time_ymd};
use stage::{Run, certward, finish};
use tempfile::TempDir;

/// A CA and its leaf for `a.example` and `*.b.example`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (ca, key) = (Authority::new("A root"), KeyPair::generate().unwrap());
    let params = server_params("a.example", &["a.example", "*.b.example"]);
    let mut old = params.clone();
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let (leaf, expired) = (ca.issue(params, &key), ca.issue(old, &key));
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("ca.pem", ca.pem().as_bytes());
    write("cert.pem", leaf.pem.as_bytes());
    write("cert.der", &leaf.der);
    write("expired.pem", expired.pem.as_bytes());
    write("key.pem", leaf.key_pem.as_bytes());
    write("other.pem", KeyPair::generate().unwrap().serialize_pem().as_bytes());
    folder
}

fn check(folder: &Path, arguments: &[&str]) -> Run {
    finish(certward(folder).arg("check").args(arguments))
}

#[test]
fn a_good_pair_is_accepted_and_shown_as_it_would_be_served() {
    let folder = folder();
    let run = check(folder.path(), &["cert.pem", "key.pem", "--client-ca", "ca.pem", "--host", "a.example"]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.starts_with("accepted"), "{}", run.stdout);
    assert!(run.stdout.contains("Would be served: a.example, valid to "), "{}", run.stdout);
    assert!(run.stdout.contains("two-way, client certificates of 1 CA"), "{}", run.stdout);
    assert!(
        run.stdout.contains("P-256") && run.stdout.contains("for *.b.example, a.example"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains('\u{1b}'), "no colours where no person looks: {}", run.stdout);
}

#[test]
fn the_chain_is_drawn_from_the_root_down_also_where_it_is_refused() {
    let folder = folder();
    let chain =
        ["cert.pem", "ca.pem"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap()).concat();
    fs::write(folder.path().join("chain.pem"), chain).unwrap();
    let accepted = check(folder.path(), &["chain.pem", "key.pem", "--host", "a.example"]);
    assert!(accepted.stdout.contains("CN=A root (not sent: devices hold it)\n│  "), "{}", accepted.stdout);
    assert!(accepted.stdout.contains("\n└─ CN=a.example\n"), "{}", accepted.stdout);
    let refused = check(folder.path(), &["chain.pem", "other.pem"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains("CN=A root\n│  "), "{}", refused.stdout);
}

#[test]
fn the_profile_and_the_key_password_are_judged_as_on_the_server() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let openssl = std::process::Command::new("openssl")
        .args(["pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:a word", "-out", "encrypted.pem"])
        .current_dir(folder.path())
        .status();
    assert!(openssl.expect("openssl is installed").success());
    fs::write(at("password"), "a word\n").unwrap();
    fs::write(at("wrong"), "another\n").unwrap();
    for (arguments, code, says) in [
        (&["cert.pem", "encrypted.pem"] as &[&str], 1, "KEY_ENCRYPTED"),
        (&["cert.pem", "encrypted.pem", "--key-password-file", "password"], 0, "accepted"),
        (&["cert.pem", "encrypted.pem", "--key-password-file", "wrong"], 1, "KEY_PASSWORD_WRONG"),
        (&["cert.pem", "key.pem", "--key-password-file", "password"], 0, "KEY_PASSWORD_UNUSED"),
        (&["cert.pem", "key.pem", "--profile", "emqx-cloud"], 0, "accepted"),
        (&["cert.pem", "key.pem", "--profile", "EMQX"], 2, "it is default or emqx-cloud"),
    ] {
        let run = check(folder.path(), arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}{}", run.stdout, run.stderr);
        assert!(
            run.stdout.contains(says) || run.stderr.contains(says),
            "{says}: {}{}",
            run.stdout,
            run.stderr
        );
        assert!(!run.stdout.contains("a word") && !run.stderr.contains("a word"));
    }
}

#[test]
fn a_bad_pair_is_refused_with_code_place_and_remedy() {
    let folder = folder();
    for (cert, key, code) in [
        ("cert.pem", "other.pem", "KEY_MISMATCH"),
        ("expired.pem", "key.pem", "EXPIRED"),
        (
            "key.pem",
            "cert.pem",
            "in key.pem\n    key.pem holds a private key and no certificate; key.pem and cert.pem may have",
        ),
        ("cert.der", "key.pem", "DER"),
    ] {
        let run = check(folder.path(), &[cert, key]);
        assert_eq!(run.code, 1, "{cert} {key}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.starts_with("refused: ") && run.stdout.contains("Do: "), "{}", run.stdout);
        assert!(run.stdout.contains(code), "{code}: {}", run.stdout);
        let text = fs::read_to_string(folder.path().join("key.pem")).unwrap();
        let body = text.lines().nth(1).unwrap();
        assert!(!run.stdout.contains(body) && !run.stderr.contains(body));
    }
}

#[test]
fn a_finding_names_the_file_the_certificate_and_its_line() {
    let folder = folder();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (leaf, expired) = (read("cert.pem"), read("expired.pem"));
    fs::write(folder.path().join("full.pem"), format!("subject=CN = a\n{leaf}{expired}")).unwrap();
    let line = 2 + leaf.lines().count();
    let run = check(folder.path(), &["full.pem", "key.pem"]);
    let place = format!("in full.pem, 2nd certificate (line {line}), CN=");
    assert!(run.stdout.contains(&place), "{place}: {}", run.stdout);
    fs::write(
        folder.path().join("encrypted.pem"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let run = check(folder.path(), &["cert.pem", "encrypted.pem"]);
    for says in [
        "in encrypted.pem, 1st private key (line 1)",
        "openssl pkey -in encrypted.pem -out",
        "use --key-password-file",
    ] {
        assert!(run.stdout.contains(says), "{says}: {}", run.stdout);
    }
    for api in ["keyPassword", "block 0", " cert ", "cacert"] {
        assert!(!run.stdout.contains(api), "{api}: {}", run.stdout);
    }
}

#[test]
fn a_host_that_the_names_do_not_cover_is_a_warning() {
    let folder = folder();
    let run = check(folder.path(), &["cert.pem", "key.pem", "--host", "x.b.example", "--host", "c.example"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(run.stdout.contains("warning") && run.stdout.contains("c.example"), "{}", run.stdout);
}

#[test]
fn json_is_what_the_api_says() {
    let folder = folder();
    let run = check(folder.path(), &["cert.pem", "key.pem", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["accepted"], true);
    assert_eq!(report["serves"]["cn"], "a.example");
    assert_eq!(report["serves"]["tlsType"], "one-way");
    let run = check(folder.path(), &["cert.pem", "other.pem", "--json"]);
    assert_eq!(run.code, 1);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["accepted"], false);
    assert_eq!(report["findings"][0]["code"], "KEY_MISMATCH");
    assert_eq!(report["findings"][0]["severity"], "error");
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = folder();
    for (arguments, says) in [
        (&["cert.pem"] as &[&str], "Usage"),
        (&["cert.pem", "none.pem"], "cannot read none.pem"),
        (&["cert.pem", "key.pem", "--host", "192.0.2.1"], "IP address"),
        (&["cert.pem", "."], "cannot read ."),
    ] {
        let run = check(folder.path(), arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
}

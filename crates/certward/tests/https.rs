//! The API over HTTPS: the client's trust, and SIGHUP for a new certificate.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::{fs, path::Path};

use certward_test_support::{Leaf, server_params};
use rustix::process::Signal;
use stage::{Run, Server, certward, finish, wait_until};

/// Self-signed, in `api.pem`, and in another file for clients.
fn issue(folder: &Path, for_clients: &str) {
    let leaf = Leaf::self_signed(server_params("127.0.0.1", &["127.0.0.1"]));
    leaf.write(folder, "api");
    fs::write(folder.join(for_clients), leaf.pem).unwrap();
}

#[test]
fn a_new_certificate_is_served_after_sighup_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    issue(folder.path(), "old.pem");
    let configuration = "[api]\nlisten = \"127.0.0.1:0\"\ncert = \"api.pem\"\nkey = \"api.key\"\n\
                         [[gateway.listener]]\nlisten = \"127.0.0.1:0\"\nprotocol = \"mqtts\"\n";
    fs::write(folder.path().join("certward.toml"), configuration).unwrap();
    let admin: serde_json::Value =
        serde_json::from_str(&finish(certward(folder.path()).arg("init")).stdout).unwrap();
    let mut server = Server::start(folder.path());
    let base = format!("https://{}/public_api/v1", server.address("api"));
    let ask = |ca: Option<&str>| -> Run {
        let mut command = certward(folder.path());
        command.args(["project", "list"]).env("CERTWARD_URL", &base);
        command.env("CERTWARD_API_KEY", admin["apiKey"].as_str().unwrap());
        command.env("CERTWARD_SECRET_KEY", admin["secretKey"].as_str().unwrap());
        ca.map(|ca| command.env("CERTWARD_CA_FILE", ca));
        finish(&mut command)
    };
    let run = ask(Some("old.pem"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run = ask(None);
    assert_eq!(run.code, 1, "nobody else knows this certificate");
    assert!(run.stderr.contains("--ca"), "{}", run.stderr);

    fs::write(folder.path().join("api.pem"), "no certificate").unwrap();
    server.signal(Signal::HUP);
    wait_until("the complaint", || server.log().contains("certificate stays as it is").then_some(()));
    assert_eq!(ask(Some("old.pem")).code, 0);

    issue(folder.path(), "new.pem");
    server.signal(Signal::HUP);
    wait_until("the new certificate", || server.log().contains("certificate is read again").then_some(()));
    assert_eq!(ask(Some("new.pem")).code, 0);
    assert_eq!(ask(Some("old.pem")).code, 1);
}

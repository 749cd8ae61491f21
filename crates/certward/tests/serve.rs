//! `certward serve`: refused starts, service, and shutdown.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::{fs, path::Path};

use rustix::process::Signal;
use stage::{Server, certward, finish, get, wait_until};
use tempfile::TempDir;

const ON_FREE_PORTS: &str = "[api]\nlisten = \"127.0.0.1:0\"\n[[gateway.listener]]\nlisten = \"127.0.0.1:0\"\nprotocol = \"mqtts\"\n\
                             [[gateway.listener]]\nlisten = \"127.0.0.1:0\"\nprotocol = \"wss\"\n";

fn initialised(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), configuration);
    let run = finish(certward(folder.path()).arg("init"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    folder
}

fn configure(folder: &Path, configuration: &str) {
    fs::write(folder.join("certward.toml"), configuration).unwrap();
}

#[test]
fn a_store_that_is_not_initialised_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), ON_FREE_PORTS);
    let run = finish(certward(folder.path()).arg("serve"));
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("certward-data is not initialised; run `certward init`"), "{}", run.stderr);
    assert!(!folder.path().join("certward-data").exists(), "nothing was made");
}

#[test]
fn a_wrong_configuration_ends_with_2() {
    let folder = initialised(ON_FREE_PORTS);
    for (configuration, says) in [
        ("[api]\nlisten = \"nowhere\"", "certward.toml, line 2: "),
        ("[api]\nlisten = \"0.0.0.0:0\"", "plain HTTP is allowed on loopback only"),
        ("[api]\nlisten = \"127.0.0.1:0\"\ncert = \"none.pem\"\nkey = \"none.key\"", "none.pem"),
    ] {
        configure(folder.path(), configuration);
        let run = finish(certward(folder.path()).arg("serve"));
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
    let run = finish(certward(folder.path()).args(["serve", "--config", "none.toml"]));
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("none.toml: the configuration cannot be read"), "{}", run.stderr);
    let run = finish(certward(folder.path()).arg("serve").env("CERTWARD_API__LISEN", "x"));
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("CERTWARD_API__LISEN"), "{}", run.stderr);
}

#[test]
fn a_master_key_that_is_gone_or_open_to_others_is_named_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;

    let folder = initialised(ON_FREE_PORTS);
    let file = folder.path().join("certward-data/master.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let run = finish(certward(folder.path()).arg("serve"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("chmod 600"), "{}", run.stderr);
    fs::remove_file(&file).unwrap();
    let run = finish(certward(folder.path()).arg("serve"));
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("master.key") && run.stderr.contains("CERTWARD_MASTER_KEY"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_database_that_does_not_answer_is_said_without_its_password() {
    let folder = initialised(ON_FREE_PORTS);
    let url = "postgres://u:hunter2@127.0.0.1:1/db";
    let run = finish(certward(folder.path()).arg("serve").env("CERTWARD_STORE", url));
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("the store is unavailable") && !run.stderr.contains("hunter2"),
        "{}",
        run.stderr
    );
}

#[test]
fn it_serves_on_ports_that_the_log_names_and_ends_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = initialised(ON_FREE_PORTS);
        let mut server = Server::start(folder.path());
        let api = server.address("api");
        for listener in ["mqtts", "wss"] {
            assert_ne!(server.address(listener).port(), 0);
        }
        assert_eq!(wait_until("/healthz", || get(api, "/healthz")).0, 200);
        wait_until("/readyz", || get(api, "/readyz").filter(|(status, _)| *status == 200));
        let metrics = get(api, "/metrics").unwrap().1;
        for prefix in ["certward_api_", "certward_gateway_", "certward_certificate"] {
            assert!(metrics.contains(prefix), "{prefix} is missing: {metrics}");
        }
        server.signal(signal);
        let (status, stdout) = server.wait();
        assert_eq!((status.code(), stdout.as_str()), (Some(0), ""), "{}", server.log());
    }
}

#[test]
fn a_node_keeps_its_id() {
    let folder = initialised(ON_FREE_PORTS);
    let id = || {
        let mut server = Server::start(folder.path());
        server.address("wss");
        server.signal(Signal::TERM);
        assert!(server.wait().0.success(), "{}", server.log());
        fs::read_to_string(folder.path().join("certward-data/node.id")).unwrap()
    };
    assert_eq!(id(), id());
}

#[test]
fn a_second_one_on_the_same_folder_is_told_why_not() {
    let folder = initialised(ON_FREE_PORTS);
    let mut server = Server::start(folder.path());
    let api = server.address("api");
    let run = finish(certward(folder.path()).arg("serve"));
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("another certward process uses the data folder"), "{}", run.stderr);
    assert_eq!(get(api, "/healthz").unwrap().0, 200, "the first one goes on");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = initialised(&ON_FREE_PORTS.replacen("127.0.0.1:0", &address.to_string(), 1));
    let run = finish(certward(folder.path()).arg("serve"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains(&address.to_string()), "{}", run.stderr);
}

#[test]
fn a_deployment_that_is_named_before_it_is_made_is_a_warning() {
    let folder = initialised(&format!("{ON_FREE_PORTS}[gateway]\ndefault_deployment = \"not-yet\"\n"));
    let mut server = Server::start(folder.path());
    server.address("wss");
    wait_until("the warning", || {
        server
            .log()
            .lines()
            .find(|line| line.contains("does not exist") && line.contains("not-yet"))
            .map(drop)
    });
}

#[test]
fn hang_up_reads_the_level_again_and_a_broken_file_changes_nothing() {
    let folder = initialised(ON_FREE_PORTS);
    let mut server = Server::start(folder.path());
    let api = server.address("api");
    wait_until("/readyz", || get(api, "/readyz").filter(|(status, _)| *status == 200));
    configure(folder.path(), &format!("{ON_FREE_PORTS}[log]\nlevel = \"loud\"\n"));
    server.signal(Signal::HUP);
    wait_until("the complaint", || server.log().contains("certward.toml, line 10").then_some(()));
    configure(folder.path(), &format!("{ON_FREE_PORTS}[log]\nlevel = \"debug\"\n"));
    server.signal(Signal::HUP);
    wait_until("the new level", || server.log().contains("the log level is read again").then_some(()));
    assert_eq!(get(api, "/healthz").unwrap().0, 200);
}

#[test]
fn the_log_may_be_json() {
    let folder = initialised(&format!("{ON_FREE_PORTS}[log]\nformat = \"json\"\n"));
    let server = Server::start(folder.path());
    let log = wait_until("a log", || Some(server.log()).filter(|log| log.contains("started")));
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}

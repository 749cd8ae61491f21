//! `certward healthcheck`, the health check of containers.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
};

use certward_tests::{Authority, Certward, Scene, Setup, certward_binary, run, wait_until};
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
        // It listens a little before it is ready.
        let ready = || Some(healthcheck(&certward)).filter(|(code, _)| *code == 0);
        let (_, text) = wait_until("certward is ready", ready);
        assert!(text.contains("\"status\":\"ready\""), "{text}");
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

/// Another program has the port.
#[test]
fn an_answer_without_end_is_not_read_and_nothing_acts_on_the_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("certward.toml");
    std::fs::write(&config, format!("[api]\nlisten = \"{address}\"\n")).unwrap();
    for (is_endless, says) in [(true, "is not certward"), (false, "\\u{1b}")] {
        let listener = listener.try_clone().unwrap();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\x1b[2J");
            while is_endless && client.write_all(&[b'a'; 4096]).is_ok() {}
        });
        let mut command = Command::new(certward_binary());
        let output = run(command.args(["healthcheck", "--config"]).arg(&config));
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(says) && !text.contains('\u{1b}'), "{text}");
        server.join().unwrap();
    }
}

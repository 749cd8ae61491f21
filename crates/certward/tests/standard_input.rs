//! `-` in place of a file.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use certward_test_support::{Authority, Leaf, server_params};
use stage::{Answer, Script, certward, finish_with_input};

const NONE: Answer = (200, "", "{}");
const PENDING: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"pending"}"#);
const ACCEPTED: Answer = (200, "", r#"{"accepted":true,"findings":[]}"#);
const CHANNEL: Answer = (201, "", r#"{"channelID":"c1","name":"","type":"webhook"}"#);

#[test]
fn each_file_of_an_upload_may_be_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let leaf = Leaf::self_signed(server_params("c", &["c"]));
    leaf.write(folder.path(), "c");
    let ca = Authority::new("Devices");
    let files = ["--cert", "c.pem", "--key", "c.key"];
    let cases: [(&[&str], &str, &str, &str); 4] = [
        (&["--cert", "-", "--key", "c.key"], &leaf.chain_pem, "cert", &leaf.chain_pem),
        (&["--cert", "c.pem", "--key", "-"], &leaf.key_pem, "key", &leaf.key_pem),
        (&[&files[..], &["--client-ca", "-"]].concat(), ca.pem(), "cacert", ca.pem()),
        (&[&files[..], &["--key-password-file", "-"]].concat(), "typed\n", "keyPassword", "typed"),
    ];
    for (flags, input, property, value) in cases {
        let api = Script::new(vec![NONE, ACCEPTED, PENDING]);
        let mut command = api.client(folder.path());
        let run = finish_with_input(command.args(["tls", "set", "d1"]).args(flags), input);
        assert_eq!(run.code, 0, "{flags:?}: {}", run.stderr);
        assert_eq!(sent(&api)[property], value, "{flags:?}");
    }
}

#[test]
fn each_file_of_a_channel_may_be_standard_input() {
    let cases: [(&[&str], &str); 3] = [
        (&["--webhook-file", "-"], "url"),
        (&["--webhook-file", "file", "--secret-file", "-"], "secret"),
        (
            &["--mail", "h", "--from", "a@b", "--to", "c@d", "--username", "u", "--password-file", "-"],
            "password",
        ),
    ];
    for (flags, property) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "of the file").unwrap();
        let api = Script::new(vec![CHANNEL]);
        let mut command = api.client(folder.path());
        let run = finish_with_input(command.args(["alert", "channel", "add"]).args(flags), "typed\n");
        assert_eq!(run.code, 0, "{flags:?}: {}", run.stderr);
        assert_eq!(sent(&api)[property], "typed", "{flags:?}");
    }
}

/// The body of the last request.
fn sent(api: &Script) -> serde_json::Value {
    let asked = api.asked();
    serde_json::from_str(asked.last().unwrap().split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn only_one_file_can_be_standard_input_and_nothing_is_sent() {
    let cases: [&[&str]; 6] = [
        &["check", "-", "-"],
        &["check", "file", "-", "--client-ca", "-"],
        &["tls", "set", "d1", "--cert", "-", "--key", "-"],
        &["tls", "set", "d1", "--cert", "-", "--key", "file", "--key-file", "-"],
        &["tls", "check", "d1", "--cert", "-", "--key", "file", "--ca", "-", "--key-file", "key.json"],
        &["alert", "channel", "add", "--webhook-file", "-", "--secret-file", "-"],
    ];
    for arguments in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "of the file").unwrap();
        std::fs::write(folder.path().join("key.json"), r#"{"apiKey":"k","secretKey":"s"}"#).unwrap();
        stage::make_private(&folder.path().join("key.json"));
        let api = Script::new(vec![]);
        let mut command = api.client(folder.path());
        let run = finish_with_input(command.args(arguments), r#"{"apiKey":"k","secretKey":"s"}"#);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("standard input (-) is given for two files"), "{}", run.stderr);
        assert!(api.asked().is_empty());
    }
}

#[test]
fn findings_name_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let leaf = Leaf::self_signed(server_params("c", &["c"]));
    leaf.write(folder.path(), "c");
    let run = finish_with_input(certward(folder.path()).args(["check", "c.pem", "-"]), "no key");
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains(" in standard input\n"), "{}", run.stdout);
    let key = std::fs::read_to_string(folder.path().join("c.key")).unwrap();
    let run = finish_with_input(certward(folder.path()).args(["check", "c.pem", "-"]), &key);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let run =
        finish_with_input(certward(folder.path()).args(["check", "c.pem", "-"]), &"a".repeat(256 * 1024 + 1));
    assert!(run.code == 2 && run.stderr.contains("standard input is larger than 256 KiB"), "{}", run.stderr);
}

//! `-` in place of a file.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use stage::{Answer, Script, certward, finish_with_input};

const NONE: Answer = (200, "", "{}");
const PENDING: Answer =
    (200, "", r#"{"tlsType":"one-way","expire":"2034-05-22 02:43:21","status":"pending"}"#);
const CHANNEL: Answer = (201, "", r#"{"channelID":"c1","name":"","type":"webhook"}"#);

#[test]
fn each_file_of_an_upload_or_channel_may_be_standard_input() {
    let set = ["tls", "set", "d1"];
    let add = ["alert", "channel", "add"];
    let cases: [(&[&str], &[&str], &str, &str); 7] = [
        (&set, &["--cert", "-", "--key", "file"], "cert", "typed\n"),
        (&set, &["--cert", "file", "--key", "-"], "key", "typed\n"),
        (&set, &["--cert", "file", "--key", "file", "--client-ca", "-"], "cacert", "typed\n"),
        (&set, &["--cert", "file", "--key", "file", "--key-password-file", "-"], "keyPassword", "typed"),
        (&add, &["--webhook-file", "-"], "url", "typed"),
        (&add, &["--webhook-file", "file", "--secret-file", "-"], "secret", "typed"),
        (
            &add,
            &["--mail", "h", "--from", "a@b", "--to", "c@d", "--username", "u", "--password-file", "-"],
            "password",
            "typed",
        ),
    ];
    for (command, flags, property, value) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "of the file").unwrap();
        let answers = if command == set { vec![NONE, PENDING] } else { vec![CHANNEL] };
        let api = Script::new(answers);
        let run = finish_with_input(api.client(folder.path()).args(command).args(flags), "typed\n");
        assert_eq!(run.code, 0, "{flags:?}: {}", run.stderr);
        let asked = api.asked();
        let body = asked.last().unwrap().split("\r\n\r\n").nth(1).unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body[property], value, "{flags:?}");
    }
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
    let leaf = certward_test_support::Leaf::self_signed(certward_test_support::server_params("c", &["c"]));
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

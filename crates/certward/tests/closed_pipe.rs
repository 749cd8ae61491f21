//! A reader that closes the pipe, as `head` does.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::{
    io,
    process::{Command, Stdio},
};

use stage::{Answer, Run, Script, certward};

/// Without a reader from the start.
fn finish_unread(command: &mut Command) -> Run {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    command.stdout(Stdio::null());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const EMPTY: Answer = (200, "", "[]");
const KEYS: Answer = (200, "", r#"[{"apiKey":"k","scopes":["tls"],"createAt":"2024-11-21 02:51"}]"#);
const ROW: Answer = (
    200,
    "Link: </public_api/v1/audit?after=1>; rel=\"next\"\r\n",
    r#"[{"number":1,"at":"2034-05-22 02:43:21","actor":"k","action":"tls.put","subject":"d1","result":"ok"}]"#,
);

#[test]
fn a_closed_pipe_is_no_failure_and_nothing_is_said() {
    let cases: [(&[&str], &[Answer]); 12] = [
        (&["--help"], &[]),
        (&["tls", "set", "--help"], &[]),
        (&["--version"], &[]),
        (&["completions", "bash"], &[]),
        (&["openapi"], &[]),
        (&["logins"], &[]),
        (&["key", "list"], &[KEYS]),
        (&["key", "list", "--json"], &[KEYS]),
        (&["project", "list"], &[EMPTY]),
        (&["deployment", "list"], &[EMPTY]),
        (&["status"], &[EMPTY, EMPTY]),
        // The second page is not asked for.
        (&["audit", "export"], &[ROW]),
    ];
    for (arguments, answers) in cases {
        let (folder, api) = (tempfile::tempdir().unwrap(), Script::new(answers.to_vec()));
        let run = finish_unread(api.client(folder.path()).args(arguments));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(api.asked().len(), answers.len(), "{arguments:?}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let leaf = certward_test_support::Leaf::self_signed(certward_test_support::server_params("c", &["c"]));
    leaf.write(folder.path(), "c");
    for (key, code) in [("c.key", 0), ("c.pem", 1)] {
        let run = finish_unread(certward(folder.path()).args(["check", "c.pem", key]));
        assert_eq!((run.code, run.stderr.as_str()), (code, ""));
    }
}

#[test]
fn a_secret_that_no_reader_gets_is_a_failure_and_the_remedy_is_said() {
    let key: Answer = (201, "", r#"{"apiKey":"k7","name":"ci","scopes":["tls"],"secretKey":"s3"}"#);
    let channel: Answer = (201, "", r#"{"channelID":"c1","name":"","type":"webhook","secret":"whsec_x"}"#);
    let cases: [(&[&str], Answer, &str); 4] = [
        (&["key", "create", "--name", "ci"], key, "`certward key revoke k7`"),
        (&["key", "create", "--name", "ci", "--json"], key, "`certward key revoke k7`"),
        (&["alert", "channel", "add", "--webhook", "https://h.example/"], channel, "channel remove c1"),
        (
            &["alert", "channel", "add", "--webhook", "https://h.example/", "--json"],
            channel,
            "channel remove c1",
        ),
    ];
    for (arguments, answer, says) in cases {
        let (folder, api) = (tempfile::tempdir().unwrap(), Script::new(vec![answer]));
        let run = finish_unread(api.client(folder.path()).args(arguments));
        assert!(run.code == 1 && run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("s3") && !run.stderr.contains("whsec_x"), "{}", run.stderr);
    }
    let folder = tempfile::tempdir().unwrap();
    let run = finish_unread(certward(folder.path()).arg("init"));
    assert!(run.code == 1 && run.stderr.contains("the admin key is lost"), "{}", run.stderr);
}

#[test]
fn a_full_disk_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = certward(folder.path());
    let child = command.arg("openapi").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("cannot write to stdout"), "{text}");
}

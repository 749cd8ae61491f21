//! The README's first command.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    process::{Command, Output},
};

use certward_tests::{certward_binary, run, workspace_root};

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(workspace_root().join("scripts/demo"));
    run(command.args(arguments).env("CERTWARD_BIN", certward_binary()))
}

#[test]
fn the_demo_shows_what_the_readme_says_and_ends_by_itself() {
    let output = demo(&["--once"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for said in [
        "error KEY_MISMATCH in first.key",
        "devices are still shown the first certificate",
        "on its first and only connection, got: hello again",
        "another root",
        "Add the CA \"O=Demo,",
        "2 deployments: 1 needs attention",
        "ends soon",
        "Every step held, in ",
    ] {
        assert!(text.contains(said), "{said}:\n{text}");
    }
    let readme = fs::read_to_string(workspace_root().join("README.md")).unwrap();
    let printed: Vec<&str> = readme.lines().filter(|line| line.starts_with("   ✓ ")).collect();
    assert!(printed.len() >= 5, "{printed:?}");
    for line in printed {
        assert!(without_numbers(&text).contains(&without_numbers(line)), "{line}:\n{text}");
    }
    let (_, counted) = text.split_once("0 failed of ").unwrap();
    let handshakes: usize = counted.split(' ').next().unwrap().parse().unwrap();
    assert!(handshakes >= 500, "{text}");
}

fn without_numbers(text: &str) -> String {
    text.split(|character: char| character.is_ascii_digit()).filter(|part| !part.is_empty()).collect()
}

#[test]
fn a_wrong_option_is_refused() {
    let output = demo(&["--onec"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stderr, b"usage: scripts/demo [--once] [--build]\n");
}

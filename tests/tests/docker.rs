//! The image: linted, built from all that the workspace needs, with time to drain.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, process::Command};

use certward_tests::{PythonTools, run, workspace_root};

fn text(path: &str) -> String {
    fs::read_to_string(workspace_root().join(path)).unwrap()
}

#[test]
fn hadolint_finds_nothing() {
    let lint = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let mut hadolint = PythonTools::installed().program("hadolint");
        let output = run(hadolint.arg(folder.path().join("Dockerfile")));
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let dockerfile = text("contrib/docker/Dockerfile");
    assert_eq!(lint(&dockerfile), (true, String::new()));
    assert!(!lint(&dockerfile.replace("rust:1.95-bookworm", "rust")).0, "a base without a version is found");
}

/// What `.dockerignore` lets through is enough for cargo.
#[test]
fn the_build_context_holds_the_workspace() {
    let context = tempfile::tempdir().unwrap();
    let ignored = text(".dockerignore");
    let kept: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|line| line == "*") && kept.len() > 4, "{ignored}");
    for path in kept {
        let to = context.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copied = run(Command::new("cp").arg("-r").arg(workspace_root().join(path)).arg(&to));
        assert!(copied.status.success(), "{path}");
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--locked", "--offline", "--package", "certward", "--edges", "normal,build"]);
    let output = run(cargo.current_dir(context.path()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The compiler of the image is one that the workspace allows, and the drain fits before the kill.
#[test]
fn the_image_and_the_compose_file_fit_the_program() {
    let minor = |text: &str, before: &str| -> u32 {
        let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("no {before}"));
        after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    let of_the_image = minor(&text("contrib/docker/Dockerfile"), "rust:1.");
    assert!(of_the_image >= minor(&text("Cargo.toml"), "rust-version = \"1."));
    let drain = minor(&text("docs/configuration.md"), "\ndrain = \"");
    assert_eq!(minor(&text("contrib/docker/compose.yaml"), "stop_grace_period: "), drain + 35);
}

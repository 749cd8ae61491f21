//! Completions and man pages, as shells and readers of manuals take them.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use certward_tests::{certward_binary, run};
use tempfile::TempDir;

fn out(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The completions for a shell, in a file.
fn completions(shell: &str, folder: &Path) -> String {
    let path = folder.join(shell);
    fs::write(&path, out(Command::new(certward_binary()).args(["completions", shell]))).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn shells_accept_their_completions() {
    let folder = TempDir::new().unwrap();
    for (shell, flag) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = completions(shell, folder.path());
        out(Command::new(shell).args([flag, &script]));
    }
    for shell in ["elvish", "powershell"] {
        let script = fs::read_to_string(completions(shell, folder.path())).unwrap();
        assert!(script.contains("migrate-store"), "{shell}: {script}");
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let folder = TempDir::new().unwrap();
    let script = completions("bash", folder.path());
    for (typed, expected) in [
        (&["certward", "dep"][..], "deployment"),
        (&["certward", "deployment", "rem"], "remove"),
        (&["certward", "tls", "set", "--client"], "--client-ca"),
        (&["certward", "completions", "z"], "zsh"),
    ] {
        let word = typed.last().unwrap();
        let at = typed.len() - 1;
        let ask = format!(
            ". {script}; COMP_WORDS=({}); COMP_CWORD={at}; _certward certward {word} {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            typed.join(" "),
            typed[at - 1],
        );
        let found = out(Command::new("bash").args(["-c", &ask]));
        assert_eq!(found.lines().collect::<Vec<_>>(), [expected], "{typed:?}");
    }
}

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let said = out(Command::new(certward_binary()).arg("man-pages").arg(folder));
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages: BTreeMap<_, _> = entries
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(said.contains(&format!("{} man pages", pages.len())), "{said}");
    pages
}

#[test]
fn every_command_has_a_page_and_the_pages_are_the_same_each_time() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (folder.path().join("1/man1"), folder.path().join("2"));
    let written = pages(&first);
    assert_eq!(written, pages(&second));
    assert_eq!(written, pages(&second), "over those that are there");
    for page in ["certward.1", "certward-serve.1", "certward-tls.1", "certward-alert-channel-add.1"] {
        assert!(written.contains_key(page), "{page}");
    }
    for name in written.keys() {
        let path = first.join(name);
        let lint = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path));
        let lint = String::from_utf8(lint.stdout).unwrap();
        // The pages have no date, and clap's breaks around headings have no effect.
        let harmless = |line: &&str| line.contains("date") || line.contains("skipping paragraph macro");
        assert!(lint.lines().all(|line| harmless(&line)), "{lint}");
        let text = out(Command::new("mandoc").args(["-T", "ascii"]).arg(&path)).replace("_\u{8}", "");
        assert!(text.contains("SYNOPSIS") || text.contains("S\u{8}SY"), "{text}");
        assert!(text.trim_end().lines().last().unwrap().starts_with("certward 0."), "{text}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let output = run(Command::new(certward_binary()).arg("man-pages").arg(folder.path().join("file/man")));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("file/man"), "{text}");
}

//! The systemd units of the package: correct, closed up, and in agreement with each other.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{fs, path::Path, process::Command};

use certward_tests::{certward_binary, run, workspace_root};

const SERVICES: [&str; 3] = ["certward.service", "certward@.service", "certward-backup.service"];

fn unit(name: &str) -> String {
    fs::read_to_string(workspace_root().join("contrib/systemd").join(name)).unwrap()
}

/// The units in a folder, with the program at its place of today.
fn laid_out(folder: &Path) {
    for entry in fs::read_dir(workspace_root().join("contrib/systemd")).unwrap() {
        let path = entry.unwrap().path();
        let program = certward_binary().display().to_string();
        // The man pages are installed with the package.
        let text = fs::read_to_string(&path).unwrap().replace("/usr/bin/certward", &program);
        let lines = text.lines().filter(|line| !line.starts_with("Documentation="));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(folder.join(path.file_name().unwrap()), text).unwrap();
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    laid_out(folder.path());
    let verify = |units: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output =
            run(command.args(["verify", "--recursive-errors=no"]).args(units).current_dir(folder.path()));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let units = [
        "./certward.socket",
        "./certward.service",
        "./certward@a.service",
        "./certward-backup.service",
        "./certward-backup.timer",
    ];
    assert_eq!(verify(&units), (true, String::new()));
    let wrong = unit("certward.socket").replace("ListenStream=8883", "ListenStreams=8883");
    fs::write(folder.path().join("certward.socket"), wrong).unwrap();
    assert!(verify(&units).1.contains("ListenStreams"), "a wrong unit is found");
}

#[test]
fn the_services_are_closed_up() {
    let folder = tempfile::tempdir().unwrap();
    laid_out(folder.path());
    let exposure = |name: &str, threshold: u32| {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={threshold}")]);
        let output = run(command.arg(folder.path().join(name)));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Overall exposure level"), "{text}{}", String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    for name in SERVICES {
        // Tenths: 2.0.
        let (closed, text) = exposure(name, 20);
        assert!(closed, "{text}");
    }
    assert!(!exposure(SERVICES[0], 1).0, "no service is without exposure");
}

/// The settings of a section, in order.
fn section<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let lines = unit.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| line.contains('=')).collect()
}

#[test]
fn the_template_is_the_service_but_for_its_sockets_and_its_start() {
    let own = |text: &str| {
        let lines = section(text, "Service").into_iter();
        let lines = lines.filter(|line| !line.starts_with("Sockets=") && !line.starts_with("ExecStart="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (service, template) = (unit("certward.service"), unit("certward@.service"));
    assert_eq!(own(&service), own(&template));
    assert!(own(&service).len() > 30, "the sections are read");
    for (text, start) in [(&service, "serve --config"), (&template, "serve --takeover --config")] {
        assert!(
            section(text, "Service")
                .iter()
                .any(|line| line.starts_with("ExecStart=") && line.contains(start))
        );
    }
}

/// A backup holds every file of the data folder: it runs under the same restrictions.
#[test]
fn the_backup_is_restricted_as_the_service_is_and_has_no_network() {
    let (service, backup) = (unit("certward.service"), unit("certward-backup.service"));
    let backup = section(&backup, "Service");
    let begin = section(&service, "Service").into_iter().skip_while(|line| !line.starts_with("UMask="));
    for line in begin.filter(|line| !line.starts_with("RestrictAddressFamilies=")) {
        assert!(backup.contains(&line), "the backup lacks {line}");
    }
    assert!(backup.contains(&"PrivateNetwork=yes") && backup.contains(&"RestrictAddressFamilies=AF_UNIX"));
}

#[test]
fn the_sockets_are_those_of_the_packaged_configuration() {
    let settings = fs::read_to_string(workspace_root().join("contrib/debian/certward.toml")).unwrap();
    let listens = settings.lines().filter_map(|line| line.trim_start_matches("# ").strip_prefix("listen = "));
    let mut configured: Vec<String> =
        listens.map(|listen| listen.trim_matches('"').replace("[::]:", "")).collect();
    let socket = unit("certward.socket");
    let mut opened: Vec<&str> =
        section(&socket, "Socket").iter().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    configured.sort_unstable();
    opened.sort_unstable();
    assert_eq!(opened, configured);
}

/// The packaged file shows every key, with the defaults of docs/configuration.md.
#[test]
fn the_packaged_configuration_is_the_documented_one() {
    let page = fs::read_to_string(workspace_root().join("docs/configuration.md")).unwrap();
    let complete = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let packaged = fs::read_to_string(workspace_root().join("contrib/debian/certward.toml")).unwrap();
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim_start_matches("# "));
        let keys = lines.filter(|line| line.starts_with('[') || line.contains(" = "));
        keys.filter(|line| !line.starts_with("data_dir")).map(str::to_owned).collect()
    };
    assert_eq!(keys(&packaged), keys(complete));
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(certward_binary());
    command.args(["init", "--config"]).arg(workspace_root().join("contrib/debian/certward.toml"));
    let output = run(command.env("CERTWARD_DATA_DIR", folder.path().join("data")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

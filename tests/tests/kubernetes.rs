//! The manifests for Kubernetes: valid, and with a configuration that certward serves with.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use certward_tests::{
    Authority, PostgresServer, Process, PythonTools, certward_binary, free_port, run, wait_until,
    workspace_root,
};

/// `preStop` with a sleep came with 1.29; the newest is what the tool knows.
const VERSIONS: [&str; 3] = ["1.30", "1.33", "1.36"];

fn manifest(name: &str) -> PathBuf {
    workspace_root().join("contrib/kubernetes").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(manifest(name)).unwrap()
}

fn validate(version: &str, files: &[PathBuf]) -> Output {
    let mut command = PythonTools::installed().program("kubernetes-validate");
    run(command.args(["--strict", "--kubernetes-version", version]).args(files))
}

#[test]
fn the_manifests_are_valid_for_old_and_new_clusters() {
    let files: Vec<PathBuf> =
        fs::read_dir(manifest("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for version in VERSIONS {
        let output = validate(version, &files);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.matches("passed").count() > files.len(), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, text("certward.yaml").replace("replicas: 2", "replicas: two")).unwrap();
    assert!(!validate(VERSIONS[0], &[wrong]).status.success(), "a wrong manifest is refused");
}

/// The number behind a name.
fn number(text: &str, name: &str) -> u64 {
    let (_, after) = text.split_once(name).unwrap_or_else(|| panic!("no {name}"));
    let digits: String =
        after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn a_pod_has_the_time_to_drain() {
    let text = text("certward.yaml");
    let needed = number(&text, "drain = ") + 35 + number(&text, "sleep: {seconds: ");
    assert!(number(&text, "terminationGracePeriodSeconds: ") > needed);
}

/// `certward.toml` of the ConfigMap.
fn configuration() -> String {
    let text = text("certward.yaml");
    let (_, block) = text.split_once("certward.toml: |\n").unwrap();
    let lines = block.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.trim_start())).collect()
}

/// The files are as kubelet lays them out: secrets behind links, readable by the group; a volume
/// whose root everybody of the group may write to.
#[test]
fn certward_serves_with_the_configuration_of_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, volume) = (folder.path().join("api"), folder.path().join("volume"));
    fs::create_dir_all(secret.join("..data")).unwrap();
    let (cert, key) =
        Authority::new("API CA").server_named("api", &["certward-api"]).write(folder.path(), "api");
    for (from, name) in [(cert, "tls.crt"), (key, "tls.key")] {
        let file = secret.join("..data").join(name);
        fs::copy(from, &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
        symlink(Path::new("..data").join(name), secret.join(name)).unwrap();
    }
    fs::create_dir(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o2777)).unwrap();

    let mut settings = configuration();
    for (of_the_pod, here) in [
        ("/var/lib/certward", volume.display().to_string()),
        ("/etc/certward/api", secret.display().to_string()),
        ("0.0.0.0:8443", format!("0.0.0.0:{}", free_port())),
        ("[::]:8883", format!("[::]:{}", free_port())),
        ("[::]:8084", format!("[::]:{}", free_port())),
    ] {
        assert!(settings.contains(of_the_pod), "{of_the_pod}: {settings}");
        settings = settings.replace(of_the_pod, &here);
    }
    let file = folder.path().join("certward.toml");
    fs::write(&file, settings).unwrap();
    let server = PostgresServer::shared();
    let database = server.database();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(certward_binary());
        command.args(arguments).env("CERTWARD_STORE", &database).env("CERTWARD_MASTER_KEY", "a5".repeat(32));
        command
    };
    // The pod of init.yaml has no configuration, and the volume of its own.
    let made = run(command(&["init"]).env("CERTWARD_DATA_DIR", folder.path().join("init")));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // The pod's log has both; the page finds the key by the brace.
    let log = [made.stderr.clone(), made.stdout.clone()].concat();
    let log = String::from_utf8(log).unwrap();
    let keys: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!((keys.len(), keys[0].contains("apiKey")), (1, true), "{log}");
    let _node = Process::start("certward", folder.path(), command(&["serve", "--config"]).arg(&file));
    wait_until("readiness", || {
        run(command(&["healthcheck", "--config"]).arg(&file)).status.success().then_some(())
    });
    // As docs/kubernetes.md has it, beside the node that serves.
    let data_dir = &volume.join("data");
    let another = run(command(&["init", "--new-admin-key"]).env("CERTWARD_DATA_DIR", data_dir));
    assert!(another.status.success(), "{}", String::from_utf8_lossy(&another.stderr));
    assert_ne!(another.stdout, made.stdout);
}

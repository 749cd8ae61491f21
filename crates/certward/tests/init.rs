//! `certward init`: one JSON object on stdout, once.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod stage;

use std::{os::unix::fs::PermissionsExt, path::Path};

use stage::{Run, Server, certward, finish};

fn init(folder: &Path, arguments: &[&str]) -> Run {
    finish(certward(folder).arg("init").args(arguments))
}

fn key(run: &Run) -> (String, String) {
    let object: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(object.as_object().unwrap().len(), 2, "{object}");
    let text = |name: &str| object[name].as_str().unwrap().to_owned();
    (text("apiKey"), text("secretKey"))
}

#[test]
fn the_key_is_the_only_thing_on_stdout_and_files_are_their_owners() {
    let folder = tempfile::tempdir().unwrap();
    let run = init(folder.path(), &["--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (api_key, secret_key) = key(&run);
    assert!(!api_key.is_empty() && secret_key.len() >= 32);
    assert!(!run.stderr.contains(&secret_key));
    let data = folder.path().join("certward-data");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in std::fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn without_json_stdout_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let run = init(folder.path(), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    key(&run);
    assert!(run.stderr.contains("master key"), "{}", run.stderr);
}

#[test]
fn a_second_init_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(init(folder.path(), &[]).code, 0);
    let master_key = folder.path().join("certward-data/master.key");
    let before = std::fs::read(&master_key).unwrap();
    let run = init(folder.path(), &["--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("--new-admin-key"), "{}", run.stderr);
    assert_eq!(std::fs::read(&master_key).unwrap(), before);
}

#[test]
fn another_admin_key_needs_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let run = init(folder.path(), &["--new-admin-key"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("`certward init` without --new-admin-key"), "{}", run.stderr);
    assert!(!folder.path().join("certward-data/master.key").exists());
    let first = key(&init(folder.path(), &[]));
    let run = init(folder.path(), &["--new-admin-key", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_ne!(key(&run), first);
}

#[test]
fn a_store_in_use_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("certward.toml"),
        "[api]\nlisten = \"127.0.0.1:0\"\n[[gateway.listener]]\nlisten = \"127.0.0.1:0\"\nprotocol = \"mqtts\"\n",
    )
    .unwrap();
    assert_eq!(init(folder.path(), &[]).code, 0);
    let mut server = Server::start(folder.path());
    server.address("api");
    let run = init(folder.path(), &["--new-admin-key"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("stop"), "{}", run.stderr);
}

#[test]
fn the_master_key_may_come_from_the_environment_and_is_then_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let digits = "a1".repeat(32);
    let run = finish(certward(folder.path()).arg("init").env("CERTWARD_MASTER_KEY", &digits));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!folder.path().join("certward-data/master.key").exists());
    let run = finish(
        certward(folder.path()).args(["init", "--new-admin-key"]).env("CERTWARD_MASTER_KEY", "b2".repeat(32)),
    );
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("master key is not the one"), "{}", run.stderr);
    let run = finish(
        certward(folder.path()).args(["init", "--new-admin-key"]).env("CERTWARD_MASTER_KEY", &digits[1..]),
    );
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("CERTWARD_MASTER_KEY") && !run.stderr.contains("a1a1"), "{}", run.stderr);
}

#[test]
fn a_wrong_configuration_ends_with_2_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("certward.toml"), "[api]\nlisen = \"x\"\n").unwrap();
    let run = init(folder.path(), &[]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("certward.toml, line 2: unknown field `lisen`"), "{}", run.stderr);
    assert!(!folder.path().join("certward-data").exists());
}

/// The user of the folder has planted the links.
#[test]
fn roots_init_in_another_users_folder_is_refused_and_changes_nothing_through_planted_links() {
    const STRANGER: u32 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let (data, victim) = (folder.path().join("certward-data"), folder.path().join("victim"));
    std::fs::write(&victim, "somebody's").unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::create_dir(&data).unwrap();
    for name in ["lock", "store.db", "master.key"] {
        std::os::unix::fs::symlink(&victim, data.join(name)).unwrap();
        std::os::unix::fs::lchown(data.join(name), Some(STRANGER), Some(STRANGER)).unwrap_or_default();
    }
    let is_root = std::os::unix::fs::chown(&data, Some(STRANGER), Some(STRANGER)).is_ok();
    for arguments in [&[][..], &["--new-admin-key"]] {
        let run = init(folder.path(), arguments);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
        let expected = if is_root { "belongs to user 1000" } else { "is a symbolic link" };
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        assert!(run.stderr.contains("runuser"), "the remedy: {}", run.stderr);
    }
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&victim), std::fs::read_to_string(&victim).unwrap().as_str()), (0o644, "somebody's"));
    assert_eq!(mode(&data), 0o755);
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 3, "nothing was made");
}

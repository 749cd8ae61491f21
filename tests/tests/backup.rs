//! The backup of docs/backup.md.

use std::{fs, process::Command};

use certward_tests::{Certward, Scene, Setup, run};

#[test]
fn a_backup_taken_while_it_runs_is_served_after_it_is_restored() {
    let scene = Scene::new();
    let leaf = scene.run_one_way();
    let (data, backup) = (scene.certward.data(), scene.certward.folder().join("backup.db"));
    let mut sqlite3 = Command::new("sqlite3");
    let output = run(sqlite3.arg(data.join("store.db")).arg(format!(".backup {}", backup.display())));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);

    let mut restored = Certward::prepare(Setup::default());
    fs::create_dir(restored.data()).unwrap();
    fs::copy(&backup, restored.data().join("store.db")).unwrap();
    fs::copy(data.join("master.key"), restored.data().join("master.key")).unwrap();
    restored.serve();
    let session = scene.device().connect(restored.mqtts(), Scene::HOST, "restored").unwrap();
    assert_eq!(session.leaf(), leaf.der);
}

#[test]
fn a_backup_without_its_master_key_does_not_start() {
    let scene = Scene::new();
    scene.run_one_way();
    let restored = Certward::prepare(Setup::default());
    fs::create_dir(restored.data()).unwrap();
    fs::copy(scene.certward.data().join("store.db"), restored.data().join("store.db")).unwrap();
    let output = run(restored.cli_without_key(&["serve", "--config"]).arg(restored.config()));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("master key") || text.contains("master.key"), "{text}");
}

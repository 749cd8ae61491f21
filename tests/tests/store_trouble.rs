//! A lost store stops changes, not service, and recovery is automatic.

use std::{fs, path::Path, process::Command};

use certward_tests::{Certward, EmbeddedDatabase, Leaf, Scene, Setup, SmallDisk, run, wait_until};

struct Patient {
    scene: Scene,
    served: Leaf,
}

impl Patient {
    fn with(setup: Setup) -> Self {
        let scene = Scene::with(setup);
        let served = scene.run_one_way();
        Self { scene, served }
    }

    fn assert_serves(&self) {
        let session = self.scene.connect(&self.scene.device(), "patient").expect("handshakes go on");
        assert_eq!(session.leaf(), self.served.der);
    }

    /// Every acknowledged change must hold.
    fn change_until_refused(&mut self) {
        let api = self.scene.api();
        wait_until("503", || {
            let leaf = self.scene.leaf();
            let answer = api.put_tls(Scene::DEPLOYMENT, &leaf.one_way());
            match answer.status {
                200 => {
                    self.served = leaf;
                    None
                }
                503 => {
                    assert_eq!(answer.code(), "STORE_UNAVAILABLE");
                    Some(())
                }
                _ => panic!("neither done nor refused: {answer:?}"),
            }
        });
    }

    fn assert_nothing_was_lost(&self) {
        self.scene.api().wait_running(Scene::DEPLOYMENT);
        self.assert_serves();
    }

    fn assert_recovers(&mut self) {
        let (api, leaf) = (self.scene.api(), self.scene.leaf());
        wait_until("recovery", || {
            let answer = api.put_tls(Scene::DEPLOYMENT, &leaf.one_way());
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (answer.status == 200).then_some(())
        });
        self.served = leaf;
        self.assert_nothing_was_lost();
    }
}

fn limit_file_size(certward: &mut Certward, limit: &str) {
    let id = certward.process().id().to_string();
    // The hard limit could not be raised again.
    let output = run(Command::new("prlimit").args(["--pid", &id, &format!("--fsize={limit}:")]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn files_that_cannot_grow_give_503_while_handshakes_go_on() {
    // Else the kernel ends the program with SIGXFSZ.
    let through = &["bash", "-c", "trap '' XFSZ; exec \"$@\"", "bash"];
    let mut patient = Patient::with(Setup { through, ..Setup::default() });
    let largest = largest_file(&patient.scene.certward.data());
    limit_file_size(&mut patient.scene.certward, &largest.to_string());
    patient.change_until_refused();
    patient.assert_serves();
    limit_file_size(&mut patient.scene.certward, "unlimited");
    patient.assert_nothing_was_lost();
    patient.assert_recovers();
}

fn largest_file(data: &Path) -> u64 {
    let sizes = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    sizes.max().unwrap()
}

#[test]
fn a_full_disk_gives_503_while_handshakes_go_on() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not run: a file system of its own needs root");
        return;
    };
    let mut patient = Patient::with(Setup { data: Some(disk.data()), ..Setup::default() });
    disk.fill();
    patient.change_until_refused();
    patient.assert_serves();
    disk.make_room();
    patient.assert_nothing_was_lost();
    patient.assert_recovers();
    drop(patient);
}

#[test]
fn a_locked_store_gives_503_while_handshakes_go_on() {
    let mut patient = Patient::with(Setup::default());
    let mut locks: Vec<EmbeddedDatabase> = EmbeddedDatabase::files(&patient.scene.certward.data())
        .iter()
        .map(|file| EmbeddedDatabase::open(file))
        .collect();
    locks.iter_mut().for_each(|database| database.execute("BEGIN IMMEDIATE"));
    patient.change_until_refused();
    patient.assert_serves();
    locks.iter_mut().for_each(|database| database.execute("ROLLBACK"));
    patient.assert_nothing_was_lost();
    patient.assert_recovers();
}

#[test]
fn a_second_certward_on_the_same_folder_does_not_start() {
    let scene = Scene::new();
    scene.run_one_way();
    let second = Certward::prepare(Setup { data: Some(scene.certward.data()), ..Setup::default() });
    let mut command = second.cli_without_key(&["serve", "--config"]);
    let output = run(command.arg(second.config()));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("in use") || text.contains("another"), "{text}");
    scene.connect(&scene.device(), "first").unwrap();
}

#[test]
fn another_master_key_stops_the_start() {
    let mut scene = Scene::new();
    scene.run_one_way();
    scene.certward.stop();
    let key = scene.certward.data().join("master.key");
    let right = fs::read(&key).unwrap();
    let wrong = Certward::prepare(Setup::default());
    assert!(wrong.run_init(&[]).status.success());
    fs::copy(wrong.data().join("master.key"), &key).unwrap();
    let mut command = scene.certward.cli_without_key(&["serve", "--config"]);
    let output = run(command.arg(scene.certward.config()));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("master key"), "{text}");

    fs::write(&key, right).unwrap();
    scene.certward.serve();
    scene.api().wait_running(Scene::DEPLOYMENT);
}

//! The change of the master key of docs/rekey.md, while devices and API are served.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use certward_tests::{Certward, EmbeddedDatabase, PostgresServer, Scene, Setup, effort, run, wait_until};
use rustix::process::Signal;
use serde_json::Value;

fn rekey(certward: &Certward, arguments: &[&str]) -> Command {
    let mut command = certward.cli_without_key(&["rekey", "--config"]);
    command.arg(certward.config()).args(arguments);
    command
}

#[track_caller]
fn succeed(mut command: Command) -> String {
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn status(certward: &Certward) -> Value {
    let output = run(&mut rekey(certward, &["--status", "--json"]));
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn key_file(certward: &Certward, name: &str) -> PathBuf {
    certward.data().join(name)
}

fn key(certward: &Certward) -> String {
    fs::read_to_string(key_file(certward, "master.key")).unwrap()
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// What is left of the keys in the data folder: the current one, and those of before.
fn assert_clean(certward: &Certward) {
    for name in ["master.key.next", "master.key.next.partial", "master.key.partial"] {
        assert!(!key_file(certward, name).exists(), "{name}");
    }
    let left = status(certward);
    assert_eq!((left["phase"].as_str(), left["recordsLeft"].as_u64()), (Some("settled"), Some(0)), "{left}");
}

/// More records than a window, each with its own key.
fn many_records(scene: &Scene) {
    let api = scene.api();
    for number in 0..30 {
        let (id, host) = (format!("d{number}"), format!("h{number}.localhost"));
        api.create_deployment(&id, &scene.broker.upstream(), &[&host]);
        api.post_tls(&id, &scene.authority.server(&[&host]).one_way()).expect(200);
    }
}

#[test]
fn a_rekey_disturbs_no_device_and_no_upload_and_afterwards_the_old_key_is_refused() {
    let mut scene = Scene::new();
    scene.run_one_way();
    many_records(&scene);
    let (device, old) = (scene.device(), key(&scene.certward));
    let mut session = scene.connect(&device, "before").unwrap();
    let over = AtomicBool::new(false);
    let said = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
                scene.connect(&device, "during").expect("served");
            }
        });
        let said = succeed(rekey(&scene.certward, &[]));
        over.store(true, Ordering::SeqCst);
        said
    });
    session.ping().expect("a connection outlasts it");
    scene.api().wait_running(Scene::DEPLOYMENT);
    let new = key(&scene.certward);
    assert_ne!(old, new);
    assert_clean(&scene.certward);
    let kept: Vec<_> =
        fs::read_dir(scene.certward.data()).unwrap().flatten().map(|file| file.path()).collect();
    let kept = kept.iter().find(|path| path.to_string_lossy().contains("master.key.old-")).expect("kept");
    assert_eq!(fs::read_to_string(kept).unwrap(), old);
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(said.contains(kept.to_str().unwrap()), "{said}");
    for digits in [old.trim(), new.trim()] {
        assert!(!scene.certward.log().contains(digits) && !said.contains(digits), "a key is shown");
    }

    // Also after a restart, and with the old key alone not at all.
    assert!(scene.certward.stop().success());
    let mut with_old = scene.certward.cli_without_key(&["serve", "--config"]);
    with_old.arg(scene.certward.config()).env("CERTWARD_MASTER_KEY", old.trim());
    let refused = run(&mut with_old);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("was replaced by"), "{}", text(&refused));
    scene.certward.serve();
    scene.connect(&device, "after").unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
}

#[test]
fn a_backup_from_before_is_restored_with_the_key_that_was_kept() {
    let scene = Scene::new();
    scene.run_one_way();
    let file = scene.certward.folder().join("before.db");
    let mut backup = scene.certward.cli_without_key(&["backup", "--config"]);
    backup.arg(scene.certward.config()).arg(&file);
    succeed(backup);
    let said: Value = serde_json::from_str(
        succeed(rekey(&scene.certward, &["--json"])).lines().find(|line| line.starts_with('{')).unwrap(),
    )
    .unwrap();
    let restore = |key: &Path, to: &Certward| {
        let mut restore = to.cli_without_key(&["restore", "--config"]);
        restore.arg(to.config()).arg(&file).arg("--master-key").arg(key);
        run(&mut restore)
    };
    let restored = Certward::prepare(Setup::default());
    let refused = restore(&key_file(&scene.certward, "master.key"), &restored);
    assert!(text(&refused).contains("master.key.old-ID"), "{}", text(&refused));
    assert!(text(&refused).contains(said["from"].as_str().unwrap()), "{}", text(&refused));
    let old = scene.certward.folder().join(said["oldKeyPlace"].as_str().unwrap());
    assert!(restore(&old, &restored).status.success());
}

#[test]
fn a_stopped_certward_is_rekeyed_with_a_given_key() {
    let mut scene = Scene::new();
    scene.run_one_way();
    assert!(scene.certward.stop().success());
    let given = scene.certward.folder().join("given.key");
    fs::write(&given, "a5".repeat(32)).unwrap();
    fs::set_permissions(&given, fs::Permissions::from_mode(0o600)).unwrap();
    succeed(rekey(&scene.certward, &["--new-key-file", given.to_str().unwrap()]));
    assert_eq!(key(&scene.certward).trim(), "a5".repeat(32));
    assert_clean(&scene.certward);
    scene.certward.serve();
    scene.connect(&scene.device(), "after").unwrap();
    let again = run(&mut rekey(&scene.certward, &["--new-key-file", given.to_str().unwrap()]));
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("is the one in use already"), "{}", text(&again));
}

#[test]
fn a_killed_rekey_is_completed_by_the_next_and_certward_serves_on() {
    let scene = Scene::new();
    scene.run_one_way();
    many_records(&scene);
    let device = scene.device();
    let mut session = scene.connect(&device, "before").unwrap();
    let begin = Instant::now();
    succeed(rekey(&scene.certward, &[]));
    let usual = begin.elapsed();
    let (kills, mut unfinished) = (effort().rekey_kills, 0);
    for round in 0..kills {
        let before = key(&scene.certward);
        let mut child = spawn(rekey(&scene.certward, &[]));
        thread::sleep(usual * u32::try_from(round).unwrap() * 11 / u32::try_from(kills * 10).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        scene.connect(&device, "killed").unwrap();
        scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
        if status(&scene.certward)["phase"] != "settled" || key(&scene.certward) == before {
            unfinished += 1;
            succeed(rekey(&scene.certward, &[]));
        }
        assert_ne!(key(&scene.certward), before);
        assert_clean(&scene.certward);
        scene.connect(&device, "completed").unwrap();
    }
    println!("{kills} kills, {unfinished} before the end");
    assert!(unfinished > 0, "no kill came in between");
    session.ping().expect("a connection outlasts them");
    scene.api().wait_running(Scene::DEPLOYMENT);
}

/// Runs `rekey` until the store is in this state, in which it is killed. Whether it was.
fn kill_in(certward: &Certward, state: &str) -> bool {
    let mut store = EmbeddedDatabase::with_table(&certward.data(), "rekey");
    let mut child = spawn(rekey(certward, &[]));
    while child.try_wait().unwrap().is_none() {
        // With the write lock, no step follows.
        store.execute("BEGIN IMMEDIATE");
        let is_in_it = store.count(state) > 0;
        if is_in_it {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        store.execute("ROLLBACK");
        if is_in_it {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

#[test]
fn a_rekey_killed_in_each_of_its_states_is_completed_and_all_is_served_in_between() {
    const STATES: [(&str, &str); 3] = [
        (
            "offered",
            "SELECT count(*) FROM node_process WHERE master_keys LIKE '%,%'
             AND NOT EXISTS (SELECT 1 FROM rekey WHERE finished_at IS NULL)",
        ),
        ("switched", "SELECT count(*) FROM rekey WHERE resealed_at IS NULL"),
        ("resealed", "SELECT count(*) FROM rekey WHERE resealed_at IS NOT NULL AND finished_at IS NULL"),
    ];
    let mut scene = Scene::new();
    scene.run_one_way();
    many_records(&scene);
    for (phase, state) in STATES {
        let device = scene.device();
        let mut session = scene.connect(&device, "before").unwrap();
        // The process may get to the next state before it is seen.
        assert!((0..50).any(|_| kill_in(&scene.certward, state)), "{phase} is never seen");
        let before = key(&scene.certward);
        assert_eq!(status(&scene.certward)["phase"], phase);
        session.ping().expect("a connection outlasts it");
        scene.connect(&device, "in between").unwrap();
        scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
        scene.api().wait_running(Scene::DEPLOYMENT);
        let file = scene.certward.folder().join(format!("{phase}.db"));
        let mut backup = scene.certward.cli_without_key(&["backup", "--config"]);
        let backup = run(backup.arg(scene.certward.config()).arg(&file));
        assert_eq!(backup.status.success(), phase != "switched", "{phase}: {}", text(&backup));

        scene.certward.kill();
        scene.certward.serve();
        scene.connect(&device, "restarted").unwrap();
        assert_eq!(status(&scene.certward)["phase"], phase);
        succeed(rekey(&scene.certward, &[]));
        assert_ne!(key(&scene.certward), before);
        assert_clean(&scene.certward);
        scene.connect(&device, "completed").unwrap();
    }
}

#[test]
fn a_rekey_that_cannot_put_the_file_in_its_place_does_so_in_the_next_run() {
    let mut scene = Scene::new();
    scene.run_one_way();
    assert!(scene.certward.stop().success());
    let from = status(&scene.certward)["masterKey"].as_str().unwrap().to_owned();
    let obstacle = key_file(&scene.certward, &format!("master.key.old-{from}"));
    fs::write(&obstacle, "a5".repeat(32)).unwrap();
    fs::set_permissions(&obstacle, fs::Permissions::from_mode(0o600)).unwrap();
    let before = key(&scene.certward);
    let failed = run(&mut rekey(&scene.certward, &[]));
    assert!(text(&failed).contains("holds another key"), "{}", text(&failed));
    assert_eq!(status(&scene.certward)["phase"], "finished");
    scene.certward.serve();
    scene.connect(&scene.device(), "with both keys").unwrap();
    fs::remove_file(&obstacle).unwrap();
    succeed(rekey(&scene.certward, &[]));
    assert_ne!(key(&scene.certward), before);
    assert_clean(&scene.certward);
}

#[test]
fn a_certward_killed_during_a_rekey_serves_again_and_the_rekey_is_completed() {
    let mut scene = Scene::new();
    scene.run_one_way();
    many_records(&scene);
    let begin = Instant::now();
    succeed(rekey(&scene.certward, &[]));
    let usual = begin.elapsed();
    let kills = effort().rekey_kills;
    for round in 0..kills {
        let before = key(&scene.certward);
        let mut child = spawn(rekey(&scene.certward, &[]));
        thread::sleep(usual * u32::try_from(round).unwrap() / u32::try_from(kills).unwrap());
        scene.certward.kill();
        // Without it, the command holds the folder, and is soon done.
        let done = child.wait().unwrap().success();
        scene.certward.serve();
        scene.connect(&scene.device(), "again").unwrap();
        if !done {
            succeed(rekey(&scene.certward, &[]));
        }
        assert_ne!(key(&scene.certward), before);
        assert_clean(&scene.certward);
        scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
        scene.api().wait_running(Scene::DEPLOYMENT);
    }
}

#[test]
fn a_take_over_between_two_parts_of_a_rekey_holds_both_keys() {
    let mut scene = Scene::new();
    scene.run_one_way();
    // Offered, and not switched.
    let next = key_file(&scene.certward, "master.key.next");
    fs::write(&next, "a5".repeat(32)).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    let mut before = scene.certward.take_over();
    wait_until("the keys of the new process", || {
        let held = status(&scene.certward);
        let held = held["nodes"][0]["masterKeys"].as_array().map(Vec::len);
        (held == Some(2)).then_some(())
    });
    succeed(rekey(&scene.certward, &[]));
    assert_eq!(key(&scene.certward).trim(), "a5".repeat(32));
    scene.connect(&scene.device(), "after").unwrap();
    assert!(before.wait().success());
}

#[test]
fn what_a_killed_init_left_of_the_master_key_is_written_again() {
    let certward = Certward::prepare(Setup::default());
    fs::create_dir(certward.data()).unwrap();
    fs::set_permissions(certward.data(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(key_file(&certward, "master.key.partial"), "0f0f").unwrap();
    let output = certward.run_init(&[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(key(&certward).trim().len(), 64);
    assert!(!key_file(&certward, "master.key.partial").exists());
}

#[test]
fn credentials_of_systemd_are_the_keys_of_a_service() {
    let mut scene = Scene::new();
    scene.run_one_way();
    assert!(scene.certward.stop().success());
    let folder = scene.certward.folder().join("credentials");
    fs::create_dir(&folder).unwrap();
    let credential = |name: &str, digits: &str| {
        let path = folder.join(name);
        fs::write(&path, digits).unwrap();
        // As systemd makes them: read-only, and by an ACL for the service's user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    };
    credential("certward-master-key", &key(&scene.certward));
    fs::remove_file(key_file(&scene.certward, "master.key")).unwrap();
    let with_credentials = |arguments: &[&str]| {
        let mut command = rekey(&scene.certward, arguments);
        command.env("CREDENTIALS_DIRECTORY", &folder);
        command
    };
    credential("certward-master-key-next", &"a5".repeat(32));
    let said = succeed(with_credentials(&[]));
    assert!(said.contains("certward-master-key-next") && said.contains("restart the unit"), "{said}");
    assert!(!key_file(&scene.certward, "master.key").exists());
    assert!(succeed(with_credentials(&["--status"])).contains("not in its place yet"));
    fs::rename(folder.join("certward-master-key-next"), folder.join("certward-master-key")).unwrap();
    assert!(succeed(with_credentials(&["--status"])).contains("no rekey is under way"));
}

/// `rekey` on a store whose rows of `version` are locked: killed before it has sealed them again.
fn kill_before_resealing(nodes: &Nodes) {
    let database = nodes.scene.certward.store_url();
    let database = database.rsplit('/').next().unwrap();
    let mut lock = nodes.server.psql(database);
    lock.args([
        "--command",
        "BEGIN; SELECT count(*) FROM (SELECT 1 FROM version FOR UPDATE) v; SELECT pg_sleep(60)",
    ]);
    let mut lock = spawn(lock);
    wait_until("the locked rows", || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        (nodes.server.query(database, sleeping) == "1").then_some(())
    });
    let mut child = spawn(rekey(&nodes.scene.certward, &[]));
    wait_until("the switch", || {
        let switched = "SELECT count(*) FROM rekey WHERE resealed_at IS NULL";
        (nodes.server.query(database, switched) == "1").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    nodes.server.query(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
    );
    lock.wait().unwrap();
}

#[test]
fn with_several_nodes_a_rekey_killed_after_the_switch_is_completed_and_all_is_served_in_between() {
    let mut nodes = Nodes::start(1);
    nodes.scene.run_one_way();
    let before = key(&nodes.scene.certward);
    for node in nodes.all() {
        fs::write(key_file(node, "master.key.next"), "a5".repeat(32)).unwrap();
        fs::set_permissions(key_file(node, "master.key.next"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    kill_before_resealing(&nodes);
    assert_eq!(status(&nodes.scene.certward)["phase"], "switched");
    nodes.connect_to_all();
    nodes.scene.api().put_tls(Scene::DEPLOYMENT, &nodes.scene.leaf().one_way()).expect(200);
    nodes.scene.api().wait_running(Scene::DEPLOYMENT);
    // A node starts with records of both keys, with and without its snapshot.
    for with_snapshot in [true, false] {
        nodes.others[0].kill();
        if !with_snapshot {
            fs::remove_file(nodes.others[0].data().join("snapshot.db")).unwrap();
        }
        nodes.others[0].serve();
        nodes.connect_to_all();
    }
    succeed(rekey(&nodes.scene.certward, &[]));
    nodes.wait_all_changed(&before);
    assert_clean(&nodes.scene.certward);
    let new = status(&nodes.scene.certward)["masterKey"].as_str().unwrap().to_owned();
    for node in nodes.all() {
        wait_until("a snapshot under the new key", || (snapshot_keys(node) == [new.clone()]).then_some(()));
    }
    nodes.connect_to_all();
}

/// Nodes on one PostgreSQL, of which the first made the store.
struct Nodes {
    scene: Scene,
    others: Vec<Certward>,
    server: PostgresServer,
}

impl Nodes {
    fn start(others: usize) -> Self {
        let server = PostgresServer::start();
        let url = server.database();
        let setup = || Setup { store: Some(url.clone()), log_level: "info", ..Setup::default() };
        let scene = Scene::with(setup());
        let others = (0..others).map(|_| Certward::start_beside(&scene.certward, setup())).collect();
        let nodes = Self { scene, others, server };
        for node in nodes.all() {
            wait_until("a whole snapshot", || node.log().contains("snapshot is whole").then_some(()));
        }
        nodes
    }

    fn all(&self) -> impl Iterator<Item = &Certward> {
        std::iter::once(&self.scene.certward).chain(&self.others)
    }

    /// As an operator would with scp.
    fn give_next_key(&self) {
        let next = key_file(&self.scene.certward, "master.key.next");
        for other in &self.others {
            fs::copy(&next, key_file(other, "master.key.next")).unwrap();
        }
    }

    fn connect_to_all(&self) {
        for node in self.all() {
            self.scene.device().connect(node.mqtts(), Scene::HOST, "all").expect("served");
        }
    }

    fn wait_all_changed(&self, before: &str) {
        for node in self.all() {
            wait_until("the new key in place", || (key(node) != before).then_some(()));
        }
        let keys: Vec<String> = self.all().map(key).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "one key on all nodes");
    }
}

/// The ids of the master keys in a node's snapshot.
fn snapshot_keys(node: &Certward) -> Vec<String> {
    let mut snapshot = EmbeddedDatabase::open(&node.data().join("snapshot.db"));
    snapshot.texts(
        "SELECT DISTINCT lower(hex(substr(sealed, 2, 8))) FROM
            (SELECT sealed FROM secret UNION ALL SELECT sealed_key FROM version WHERE sealed_key IS NOT NULL)",
    )
}

#[test]
fn on_several_nodes_a_rekey_waits_for_the_key_and_ends_on_all_of_them() {
    let mut nodes = Nodes::start(2);
    nodes.scene.run_one_way();
    let before = key(&nodes.scene.certward);
    let mut session = nodes.scene.connect(&nodes.scene.device(), "before").unwrap();
    let refused = run(&mut rekey(&nodes.scene.certward, &[]));
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    for other in &nodes.others {
        let id = fs::read_to_string(other.data().join("node.id")).unwrap();
        assert!(text(&refused).contains(id.trim()), "{}", text(&refused));
    }
    assert!(text(&refused).contains("master.key.next"), "{}", text(&refused));
    assert_eq!(status(&nodes.scene.certward)["phase"], "offered");
    nodes.connect_to_all();

    nodes.give_next_key();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                nodes.scene.api().put_tls(Scene::DEPLOYMENT, &nodes.scene.leaf().one_way()).expect(200);
                nodes.connect_to_all();
            }
        });
        succeed(rekey(&nodes.scene.certward, &[]));
        over.store(true, Ordering::SeqCst);
    });
    nodes.wait_all_changed(&before);
    nodes.scene.api().wait_running(Scene::DEPLOYMENT);
    session.ping().expect("a connection outlasts it");
    assert_clean(&nodes.scene.certward);
    let new = status(&nodes.scene.certward)["masterKey"].as_str().unwrap().to_owned();
    for node in nodes.all() {
        wait_until("a snapshot under the new key", || (snapshot_keys(node) == [new.clone()]).then_some(()));
    }

    // Each starts with the new key alone, also without the database.
    for node in 0..nodes.others.len() {
        assert!(nodes.others[node].stop().success());
    }
    nodes.server.stop();
    let node = &mut nodes.others[0];
    node.serve();
    nodes.scene.device().connect(nodes.others[0].mqtts(), Scene::HOST, "away").expect("from its snapshot");
}

#[test]
fn a_node_that_was_away_is_refused_by_name_and_serves_with_the_new_key() {
    let mut nodes = Nodes::start(1);
    nodes.scene.run_one_way();
    let id = fs::read_to_string(nodes.others[0].data().join("node.id")).unwrap();
    nodes.others[0].kill();
    let refused = run(&mut rekey(&nodes.scene.certward, &[]));
    assert!(text(&refused).contains(id.trim()), "{}", text(&refused));
    succeed(rekey(&nodes.scene.certward, &["--without", id.trim()]));
    let mut serve = nodes.others[0].cli_without_key(&["serve", "--config"]);
    serve.arg(nodes.others[0].config());
    let refused = run(&mut serve);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("was replaced by"), "{}", text(&refused));
    fs::copy(key_file(&nodes.scene.certward, "master.key"), key_file(&nodes.others[0], "master.key"))
        .unwrap();
    nodes.others[0].serve();
    nodes.connect_to_all();
    let new = status(&nodes.scene.certward)["masterKey"].as_str().unwrap().to_owned();
    wait_until("a new snapshot", || (snapshot_keys(&nodes.others[0]) == [new.clone()]).then_some(()));
}

#[test]
fn with_several_nodes_killed_rekeys_and_nodes_are_survived() {
    let nodes = Mutex::new(Nodes::start(1));
    let (kills, unfinished) = (effort().rekey_kills, AtomicUsize::new(0));
    {
        let nodes = nodes.lock().unwrap();
        nodes.scene.run_one_way();
        many_records(&nodes.scene);
    }
    for round in 0..kills {
        let mut nodes = nodes.lock().unwrap();
        let before = key(&nodes.scene.certward);
        // The next key, on all nodes.
        let digits = format!("{:064x}", round + 1);
        for node in nodes.all() {
            let next = key_file(node, "master.key.next");
            fs::write(&next, &digits).unwrap();
            fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut child = spawn(rekey(&nodes.scene.certward, &[]));
        let after = Duration::from_millis(
            200 + 1_800 * u64::try_from(round).unwrap() / u64::try_from(kills).unwrap(),
        );
        thread::sleep(after);
        if round % 2 == 0 {
            child.kill().unwrap();
        } else {
            nodes.others[0].kill();
            nodes.others[0].serve();
        }
        let done = child.wait().unwrap().success();
        nodes.connect_to_all();
        if !done {
            unfinished.fetch_add(1, Ordering::SeqCst);
            succeed(rekey(&nodes.scene.certward, &[]));
        }
        nodes.wait_all_changed(&before);
        assert_clean(&nodes.scene.certward);
        nodes.scene.api().put_tls(Scene::DEPLOYMENT, &nodes.scene.leaf().one_way()).expect(200);
        nodes.scene.api().wait_running(Scene::DEPLOYMENT);
        nodes.connect_to_all();
    }
    println!("{kills} kills, {} before the end", unfinished.load(Ordering::SeqCst));
}

#[test]
fn other_places_of_a_nodes_key_are_named_with_what_is_left_to_do() {
    let mut scene = Scene::new();
    scene.run_one_way();
    assert!(scene.certward.stop().success());
    let (current, next) = (scene.certward.folder().join("a.key"), scene.certward.folder().join("b.key"));
    fs::rename(key_file(&scene.certward, "master.key"), &current).unwrap();
    let text = fs::read_to_string(scene.certward.config()).unwrap();
    let keys = format!("master_key_file = {current:?}\n");
    fs::write(scene.certward.config(), format!("{keys}{text}")).unwrap();
    scene.certward.serve();
    // The running certward gets the place of the next key by a reload.
    let keys = format!("{keys}master_key_next_file = {next:?}\n");
    fs::write(scene.certward.config(), format!("{keys}{text}")).unwrap();
    scene.certward.signal(Signal::HUP);
    let said = succeed(rekey(&scene.certward, &[]));
    assert!(said.contains("Next: on every node"), "{said}");
    assert_eq!(status(&scene.certward)["phase"], "finished");
    fs::rename(&next, &current).unwrap();
    wait_until("the new key alone", || {
        let held = status(&scene.certward);
        (held["nodes"][0]["masterKeys"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    assert_clean(&scene.certward);
    scene.connect(&scene.device(), "after").unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
}

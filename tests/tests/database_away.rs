//! Without the database devices are served, also across restarts; recovery is automatic.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use certward_tests::{
    Authority, Certward, Detour, EmbeddedDatabase, Leaf, PostgresServer, Scene, Setup, SmallDisk, effort,
    run, wait_until,
};
use serde_json::json;

const TWO_WAY: &str = "two-way";
const TWO_WAY_HOST: &str = "two-way.localhost";

/// A node with a one-way and a two-way deployment.
struct Away {
    server: PostgresServer,
    database: String,
    scene: Scene,
    one_way: Leaf,
    two_way: Leaf,
    clients: Authority,
}

impl Away {
    fn new() -> Self {
        let server = PostgresServer::start();
        let url = server.database();
        let database = url.rsplit('/').next().expect("its name").to_owned();
        let scene = Scene::with(setup(&url));
        let one_way = scene.run_one_way();
        let clients = Authority::new("Device CA");
        scene.api().create_deployment(TWO_WAY, &scene.broker.upstream(), &[TWO_WAY_HOST]);
        let two_way = scene.authority.server(&[TWO_WAY_HOST]);
        scene.api().post_tls(TWO_WAY, &two_way.two_way(clients.pem())).expect(200);
        scene.api().wait_running(TWO_WAY);
        let away = Self { server, database, scene, one_way, two_way, clients };
        away.wait_whole();
        away
    }

    /// Only the first start has to complete the replica.
    fn wait_whole(&self) {
        wait_until("a whole snapshot", || {
            self.scene.certward.log().contains("snapshot is whole").then_some(())
        });
    }

    fn assert_serves(&self, client_id: &str) {
        let session = self.scene.connect(&self.scene.device(), client_id).expect("one-way");
        assert_eq!(session.leaf(), self.one_way.der);
        let device = self.scene.device().with_identity(&self.clients.client("device"));
        let to = self.scene.certward.mqtts();
        let session = device.connect(to, TWO_WAY_HOST, client_id).expect("two-way, with a certificate");
        assert_eq!(session.leaf(), self.two_way.der);
        self.scene.device().connect(to, TWO_WAY_HOST, client_id).expect_err("two-way, without one");
        let stranger = self.scene.device().with_identity(&Authority::new("Device CA").client("device"));
        stranger.connect(to, TWO_WAY_HOST, client_id).expect_err("two-way, of another CA");
    }

    fn assert_api_refuses(&self) {
        let api = self.scene.api();
        let answers = [
            api.tls(Scene::DEPLOYMENT),
            api.put_tls(Scene::DEPLOYMENT, &self.scene.leaf().one_way()),
            api.delete_tls(Scene::DEPLOYMENT),
            api.get("/deployments"),
        ];
        for answer in answers {
            assert_eq!((answer.status, answer.code().as_str()), (503, "STORE_UNAVAILABLE"), "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        let at = |path: &str| api.try_send_at("GET", path, "", "").expect("answered").status;
        assert_eq!((at("/healthz"), at("/readyz"), at("/metrics")), (200, 200, 200));
    }

    fn assert_heals(&mut self) {
        self.server.resume();
        let (api, leaf) = (self.scene.api(), self.scene.leaf());
        wait_until("recovery", || {
            let answer = api.put_tls(Scene::DEPLOYMENT, &leaf.one_way());
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            (answer.status == 200).then_some(())
        });
        api.wait_running(Scene::DEPLOYMENT);
        self.one_way = leaf;
        self.assert_serves("healed");
    }

    fn snapshot(&self) -> PathBuf {
        self.scene.certward.data().join("snapshot.db")
    }

    /// The output of a start that must fail.
    fn refused_start(&self) -> String {
        let mut command = self.scene.certward.cli_without_key(&["serve", "--config"]);
        let output = run(command.arg(self.scene.certward.config()));
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn setup(store: &str) -> Setup {
    Setup { store: Some(store.to_owned()), ..Setup::default() }
}

#[test]
fn devices_are_served_across_restarts_of_the_node_and_everything_heals_by_itself() {
    let mut away = Away::new();
    let resuming = away.scene.device().with_resumption();
    let resuming_two_way =
        away.scene.device().with_identity(&away.clients.client("device")).with_resumption();
    let to = away.scene.certward.mqtts();
    let mut session = away.scene.connect(&resuming, "stays").unwrap();
    resuming_two_way.connect(to, TWO_WAY_HOST, "stays-too").unwrap().ping().unwrap();
    session.ping().unwrap();

    away.server.stop();
    away.assert_serves("away");
    session.ping().unwrap();
    away.assert_api_refuses();

    assert!(away.scene.certward.stop().success());
    away.scene.certward.serve();
    away.assert_serves("restarted");
    away.assert_api_refuses();
    assert!(away.scene.connect(&resuming, "resumes").unwrap().is_resumed());
    let resumed = resuming_two_way.connect(to, TWO_WAY_HOST, "resumes-too").unwrap();
    assert!(resumed.is_resumed());

    away.scene.certward.kill();
    away.scene.certward.serve();
    away.assert_serves("killed");
    let mut lasting = away.scene.connect(&away.scene.device(), "lasting").unwrap();

    away.assert_heals();
    lasting.ping().unwrap();
    // Again, from the new replica.
    away.server.stop();
    away.scene.certward.kill();
    away.scene.certward.serve();
    away.assert_serves("again");
    let log = away.scene.certward.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn what_was_acknowledged_holds_without_the_database_from_the_moment_it_was() {
    let mut away = Away::new();
    let api = away.scene.api();
    let narrowed = away.scene.leaf();
    api.put_tls(Scene::DEPLOYMENT, &narrowed.two_way(away.clients.pem())).expect(200);
    api.wait_running(Scene::DEPLOYMENT);
    api.delete_tls(TWO_WAY).expect(204);
    wait_until("the end of the deletion", || (api.tls(TWO_WAY).json() == json!({})).then_some(()));
    // No wait: an acknowledged change is on this node's disk.
    away.scene.certward.kill();
    away.server.stop();
    away.scene.certward.serve();
    away.scene.connect(&away.scene.device(), "anybody").expect_err("two-way by now");
    let device = away.scene.device().with_identity(&away.clients.client("device"));
    assert_eq!(away.scene.connect(&device, "known").unwrap().leaf(), narrowed.der);
    device.connect(away.scene.certward.mqtts(), TWO_WAY_HOST, "deleted").expect_err("it is deleted");
    let mut snapshot = EmbeddedDatabase::open(&away.snapshot());
    assert_eq!(snapshot.count("SELECT count(*) FROM version WHERE deployment = 'two-way'"), 0);
}

#[test]
fn killed_at_any_moment_it_serves_what_it_last_acknowledged_or_what_was_in_flight() {
    let mut away = Away::new();
    let known = away.scene.device().with_identity(&away.clients.client("device"));
    let anybody = away.scene.device();
    let (mut acknowledged, mut is_two_way) = (away.one_way.clone(), false);
    for round in 0..effort().kills {
        let leaf = away.scene.leaf();
        let upload = if is_two_way { leaf.one_way() } else { leaf.two_way(away.clients.pem()) };
        let api = away.scene.api();
        api.put_tls(Scene::DEPLOYMENT, &upload).expect(200);
        // From before the node reads the change to after it runs.
        std::thread::sleep(Duration::from_millis([0, 5, 15, 30, 300][round % 5]));
        let runs = api.tls(Scene::DEPLOYMENT).tls_status() == "running";
        away.scene.certward.kill();
        away.server.stop();
        away.scene.certward.serve();
        let session = away.scene.connect(&known, "known").expect("it is served");
        let serves_new = session.leaf() == leaf.der;
        assert!(
            serves_new || (!runs && session.leaf() == acknowledged.der),
            "round {round}, running: {runs}"
        );
        let two_way_now = if serves_new { !is_two_way } else { is_two_way };
        assert_eq!(away.scene.connect(&anybody, "anybody").is_err(), two_way_now, "round {round}");
        away.server.resume();
        wait_until("the end of the change", || {
            let answer = away.scene.api().tls(Scene::DEPLOYMENT);
            (answer.status == 200 && answer.tls_status() == "running").then_some(())
        });
        (acknowledged, is_two_way) = (leaf, !is_two_way);
    }
}

#[test]
fn a_process_takes_over_while_the_database_is_away() {
    let mut away = Away::new();
    let mut staying = away.scene.connect(&away.scene.device(), "staying").unwrap();
    away.server.stop();
    let mut before = away.scene.certward.take_over();
    away.assert_serves("taken-over");
    assert!(before.wait().success());
    staying.wait_closed().unwrap();
    away.assert_heals();
}

#[test]
fn what_another_node_changed_in_the_outage_is_picked_up_and_proven() {
    let mut away = Away::new();
    let store = away.scene.certward.store_url();
    assert!(away.scene.certward.stop().success());
    let mut other = Certward::start_beside(&away.scene.certward, setup(&store));
    let api = other.api();
    let narrowed = away.scene.leaf();
    api.put_tls(Scene::DEPLOYMENT, &narrowed.two_way(away.clients.pem())).expect(200);
    api.wait_running(Scene::DEPLOYMENT);
    api.delete_tls(TWO_WAY).expect(204);
    wait_until("the end of the deletion", || (api.tls(TWO_WAY).json() == json!({})).then_some(()));
    assert!(other.stop().success());

    // It serves what it acknowledged itself.
    away.server.stop();
    away.scene.certward.serve();
    away.assert_serves("not-told");
    let mut untrusted = away.scene.connect(&away.scene.device(), "let-in-without").unwrap();
    untrusted.ping().unwrap();

    away.server.resume();
    untrusted.wait_closed().expect("a device that is not trusted any more is disconnected");
    wait_until("the other node's certificate", || {
        let device = away.scene.device().with_identity(&away.clients.client("device"));
        let session = away.scene.connect(&device, "told").ok()?;
        (session.leaf() == narrowed.der).then_some(())
    });
    away.scene.connect(&away.scene.device(), "without").expect_err("two-way by now");
    let api = away.scene.api();
    let device = away.scene.device().with_identity(&away.clients.client("device"));
    wait_until("the end of what is deleted", || {
        device.connect(away.scene.certward.mqtts(), TWO_WAY_HOST, "deleted").err()
    });
    api.wait_running(Scene::DEPLOYMENT);
}

fn counted(certward: &Certward) -> usize {
    let nodes = certward.api().get("/nodes").expect(200).json();
    nodes.as_array().unwrap().iter().filter(|node| node["leaseUntil"].is_string()).count()
}

#[test]
fn a_node_that_began_without_the_database_counts_only_when_it_has_caught_up() {
    let server = PostgresServer::start();
    let store = server.database();
    let scene = Scene::with(setup(&store));
    let old = scene.run_one_way();
    let detour = Detour::before(&store);
    let mut behind = Certward::start_beside(&scene.certward, setup(detour.url()));
    wait_until("a whole snapshot", || behind.log().contains("snapshot is whole").then_some(()));
    assert!(behind.stop().success());
    assert_eq!(counted(&scene.certward), 1, "it has left");
    let renewed = scene.leaf();
    scene.api().put_tls(Scene::DEPLOYMENT, &renewed.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    // An unreadable deployment does not keep the node from being counted.
    scene.api().create_deployment("damaged", "127.0.0.1:1", &["damaged.localhost"]);
    server.query(database_of(&store), "UPDATE deployment SET upstream = 'nonsense' WHERE id = 'damaged'");

    detour.block();
    behind.serve();
    let shown =
        || scene.device().connect(behind.mqtts(), Scene::HOST, "looking").map(|it| it.leaf().to_vec());
    assert_eq!(shown().unwrap(), old.der, "it cannot know better");
    // The database is back without the certificates.
    server.query(database_of(&store), "ALTER TABLE version RENAME TO version_away");
    detour.free();
    wait_until("the database", || behind.log().contains("the database is back").then_some(()));
    wait_until("a change that cannot be read", || {
        behind.log().contains("a change cannot be read").then_some(())
    });
    assert_eq!(counted(&scene.certward), 1, "it does not serve what is running");
    server.query(database_of(&store), "ALTER TABLE version_away RENAME TO version");
    wait_until("that it counts", || (counted(&scene.certward) == 2).then_some(()));
    assert_eq!(shown().unwrap(), renewed.der);
}

fn database_of(store: &str) -> &str {
    store.rsplit_once('/').expect("a URL").1
}

#[test]
fn what_is_no_snapshot_of_this_node_stops_a_start_without_the_database_and_no_other() {
    let mut away = Away::new();
    let foreign = Certward::start_with(setup(&away.server.database()));
    wait_until("a whole snapshot", || foreign.log().contains("snapshot is whole").then_some(()));
    assert!(away.scene.certward.stop().success());
    let file = away.snapshot();
    let whole = fs::read(&file).unwrap();
    let foreign = copied(&foreign.data().join("snapshot.db"));
    let cases: [(&str, Vec<u8>, u32); 6] = [
        ("nothing", vec![], 0o600),
        ("garbage", vec![7; 50_000], 0o600),
        ("another database", b"SQLite format 3\0".to_vec(), 0o600),
        ("open to others", whole.clone(), 0o644),
        ("of another store and master key", foreign, 0o600),
        ("cut short", whole[..4096].to_vec(), 0o600),
    ];
    for (case, bytes, mode) in cases {
        println!("{case}");
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        away.server.stop();
        let said = away.refused_start();
        assert!(said.contains("snapshot.db") || said.contains("master key"), "{case}: {said}");
        away.server.resume();
        let warnings = away.scene.certward.log().matches("is built again").count();
        let wholes = away.scene.certward.log().matches("snapshot is whole").count();
        away.scene.certward.serve();
        away.assert_serves(case);
        wait_until("a new snapshot", || {
            (away.scene.certward.log().matches("snapshot is whole").count() > wholes).then_some(())
        });
        let warned = away.scene.certward.log().matches("is built again").count() > warnings;
        assert_eq!(warned, case != "nothing", "{case}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{case}");
        assert!(away.scene.certward.stop().success());
    }
    // The replica is complete again.
    away.server.stop();
    away.scene.certward.serve();
    away.assert_serves("whole again");
    assert!(away.scene.certward.stop().success());
    fs::remove_file(&file).unwrap();
    let said = away.refused_start();
    assert!(said.contains("unavailable"), "{said}");
}

/// A compact copy, with the write-ahead log.
fn copied(file: &Path) -> Vec<u8> {
    let mut database = EmbeddedDatabase::open(file);
    let copy = file.with_extension("copy");
    database.execute(&format!("VACUUM INTO '{}'", copy.display()));
    fs::read(copy).unwrap()
}

#[test]
fn a_deployment_whose_entry_does_not_open_is_refused_alone() {
    let mut away = Away::new();
    away.server.stop();
    assert!(away.scene.certward.stop().success());
    let damages = [
        "UPDATE version SET sealed_key = x'00' WHERE deployment = 'two-way'",
        "UPDATE version SET chain = x'0102' WHERE deployment = 'two-way'",
        "UPDATE deployment SET upstream = 'nonsense' WHERE id = 'two-way'",
        "DELETE FROM version WHERE deployment = 'two-way'",
    ];
    for damage in damages {
        EmbeddedDatabase::open(&away.snapshot()).execute(damage);
        away.scene.certward.serve();
        let session = away.scene.connect(&away.scene.device(), "well").expect(damage);
        assert_eq!(session.leaf(), away.one_way.der);
        drop(session);
        let device = away.scene.device().with_identity(&away.clients.client("device"));
        device.connect(away.scene.certward.mqtts(), TWO_WAY_HOST, "refused").expect_err(damage);
        assert!(away.scene.certward.stop().success());
    }
    // A damaged replica does not prevent recovery.
    away.scene.certward.serve();
    EmbeddedDatabase::open(&away.snapshot()).execute("ALTER TABLE deployment RENAME TO lost");
    away.server.resume();
    let device = away.scene.device().with_identity(&away.clients.client("device"));
    wait_until("service of what was damaged", || {
        device.connect(away.scene.certward.mqtts(), TWO_WAY_HOST, "mended").ok()
    });
    wait_until("a new snapshot", || {
        let log = away.scene.certward.log();
        let removed = log.find("is damaged, or holds what cannot be served: it is removed")?;
        log[removed..].contains("snapshot is whole").then_some(())
    });
    away.assert_serves("mended");
}

#[test]
fn a_disk_that_takes_nothing_costs_the_snapshot_and_no_service() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not run: a file system of its own needs root");
        return;
    };
    let server = PostgresServer::start();
    let data = disk.data();
    let scene = Scene::with(Setup { data: Some(data.clone()), ..setup(&server.database()) });
    scene.run_one_way();
    let api = scene.api();
    let log = |what: &str| scene.certward.log().matches(what).count();
    wait_until("a whole snapshot", || (log("snapshot is whole") > 0).then_some(()));

    // Disk full: the replica is removed, changes continue.
    disk.fill();
    let change = |what: &str| {
        let leaf = scene.leaf();
        api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
        api.wait_running(Scene::DEPLOYMENT);
        assert_eq!(scene.connect(&scene.device(), what).unwrap().leaf(), leaf.der);
    };
    // Free space in its pages may take a change or two.
    wait_until("a snapshot that cannot be written", || {
        change("full");
        (log("cannot be used and is removed") > 0).then_some(())
    });
    change("without-snapshot");
    disk.make_room();

    drop(scene);
    drop(disk);
}

/// Cannot be removed, as a mount point; needs root.
struct Pinned(PathBuf);

impl Pinned {
    fn pin(file: &Path) -> Option<Self> {
        let output = run(Command::new("mount").arg("--bind").arg(file).arg(file));
        output.status.success().then(|| Self(file.to_owned()))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

#[test]
fn a_snapshot_that_can_neither_be_written_nor_removed_lets_no_proof_pass() {
    let server = PostgresServer::start();
    let scene = Scene::with(Setup { prove_within: "1s", ..setup(&server.database()) });
    scene.run_one_way();
    let api = scene.api();
    wait_until("a whole snapshot", || scene.certward.log().contains("snapshot is whole").then_some(()));
    let file = scene.certward.data().join("snapshot.db");
    let mut lock = EmbeddedDatabase::open(&file);
    lock.execute("BEGIN IMMEDIATE");
    let Some(pinned) = Pinned::pin(&file) else {
        println!("not run: only root may mount");
        return;
    };
    let leaf = scene.leaf();
    api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    wait_until("failure with its reason", || {
        let answer = api.tls(Scene::DEPLOYMENT).json();
        let reason = answer["reason"].as_str().unwrap_or_default();
        reason.contains("snapshot can neither be written nor removed").then_some(())
    });
    assert_eq!(scene.connect(&scene.device(), "served").unwrap().leaf(), leaf.der);
    drop(pinned);
    lock.execute("ROLLBACK");
    api.wait_running(Scene::DEPLOYMENT);
}

/// Locks the certificate tables again and again: the database answers slowly.
struct Slowness(Child);

impl Slowness {
    /// Below any lock timeout (5 s); four such waits, one certificate's reads, exceed the
    /// handshake's deadline (10 s).
    const LOCK: &str =
        "BEGIN; LOCK TABLE deployment, version IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3); COMMIT";
    const TIMES: usize = 100;

    fn of(away: &Away) -> Self {
        let mut psql = away.server.psql(&away.database);
        psql.args([["--command", Self::LOCK]; Self::TIMES].as_flattened());
        Self(psql.stdout(Stdio::null()).spawn().expect("psql can be started"))
    }
}

impl Drop for Slowness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_database_that_is_slow_keeps_no_device_waiting_for_what_is_in_the_snapshot() {
    let mut away = Away::new();
    let slowness = Slowness::of(&away);
    away.scene.certward.kill();
    away.scene.certward.serve();
    let begin = Instant::now();
    for n in 0.. {
        away.assert_serves(&format!("device-{n}"));
        if begin.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    drop(slowness);
    let (api, leaf) = (away.scene.api(), away.scene.leaf());
    api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    api.wait_running(Scene::DEPLOYMENT);
    away.one_way = leaf;
    away.assert_serves("later");
}

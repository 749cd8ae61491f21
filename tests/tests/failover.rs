//! A primary and its synchronous standby: acknowledged changes survive, and devices notice nothing.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{Leaf, PostgresServer, Scene, Setup, came_within, effort, wait_until};
use rustix::process::Signal;

const DATABASE: &str = "test0";
const PROJECTS: usize = 5;
const SWAPS: usize = 3;

struct Load {
    end: AtomicBool,
    /// Acknowledged ones.
    projects: Mutex<Vec<String>>,
    certificates: Mutex<Certificates>,
    handshakes: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

struct Certificates {
    /// By number, with unacknowledged swaps, which may have been carried out.
    order: HashMap<Vec<u8>, usize>,
    acknowledged: usize,
    /// The newest reported `running`.
    running: usize,
    runs: usize,
}

impl Load {
    fn new(first: &Leaf) -> Self {
        let order = HashMap::from([(first.der.clone(), 0)]);
        Self {
            end: AtomicBool::default(),
            projects: Mutex::default(),
            certificates: Mutex::new(Certificates { order, acknowledged: 0, running: 0, runs: 0 }),
            handshakes: AtomicUsize::default(),
            faults: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    fn make_projects(&self, scene: &Scene) {
        for number in 0.. {
            if self.is_over() {
                return;
            }
            let name = format!("p{number}");
            let body = format!("{{\"projectID\":\"{name}\"}}");
            let fields = "Content-Type: application/json\r\n";
            let answer = scene.api().try_send("POST", "/projects", fields, &body);
            if answer.is_ok_and(|answer| answer.status == 201) {
                self.projects.lock().unwrap().push(name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn swap(&self, scene: &Scene) {
        let api = scene.api();
        for number in 1.. {
            if self.is_over() {
                return;
            }
            let leaf = scene.leaf();
            self.certificates.lock().unwrap().order.insert(leaf.der.clone(), number);
            let answer = api.put_tls(Scene::DEPLOYMENT, &leaf.one_way());
            match answer.status {
                200 => self.certificates.lock().unwrap().acknowledged = number,
                503 => continue,
                _ => return self.fault(format!("a swap is answered {answer:?}")),
            }
            while !self.is_over() {
                let answer = api.tls(Scene::DEPLOYMENT);
                if answer.status == 200 && answer.tls_status() == "running" {
                    let mut certificates = self.certificates.lock().unwrap();
                    certificates.running = number;
                    certificates.runs += 1;
                    break;
                }
            }
        }
    }

    fn connect(&self, scene: &Scene) {
        let device = scene.device();
        while !self.is_over() {
            let oldest = self.certificates.lock().unwrap().running;
            match scene.connect(&device, "device") {
                Ok(session) => {
                    let shown = self.certificates.lock().unwrap().order[session.leaf()];
                    if shown < oldest {
                        self.fault(format!("certificate {shown} is shown although {oldest} was running"));
                    }
                }
                Err(error) => self.fault(error.to_string()),
            }
            self.handshakes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.projects.lock().unwrap().len(), self.certificates.lock().unwrap().runs)
    }

    #[track_caller]
    fn wait_for_more(&self, what: &str) {
        let (projects, runs) = self.counts();
        let came = came_within(Duration::from_secs(60), || {
            let (projects_now, runs_now) = self.counts();
            (projects_now > projects + PROJECTS && runs_now > runs + SWAPS).then_some(())
        });
        assert!(came.is_some(), "no {what}: {:?}", self.faults.lock().unwrap());
    }
}

struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

/// `lose` removes the primary under load, the standby is promoted, `after` inspects both.
fn fail_over(lose: impl FnOnce(&mut PostgresServer), after: impl FnOnce(&mut PostgresServer, &Load)) {
    let mut primary = PostgresServer::start_on_tcp();
    primary.database();
    let standby = primary.start_synchronous_standby();
    let store = format!("{} {}", primary.tcp_url(DATABASE), standby.tcp_url(DATABASE));
    let scene = Scene::with(Setup { store: Some(store), ..Setup::default() });
    let load = Load::new(&scene.run_one_way());
    thread::scope(|scope| {
        let end = End(&load);
        scope.spawn(|| load.make_projects(&scene));
        scope.spawn(|| load.swap(&scene));
        scope.spawn(|| load.connect(&scene));
        load.wait_for_more("changes before");
        lose(&mut primary);
        standby.promote();
        load.wait_for_more("changes after");
        after(&mut primary, &load);
        drop(end);
    });
    let there = standby.query(DATABASE, "SELECT id FROM project");
    for name in load.projects.lock().unwrap().iter() {
        assert!(there.lines().any(|line| line == name), "{name} was acknowledged and is lost");
    }
    assert_eq!(*load.faults.lock().unwrap(), Vec::<String>::new());
    // Or a later one, with an unknown result.
    scene.api().wait_running(Scene::DEPLOYMENT);
    let shown = scene.connect(&scene.device(), "last").unwrap().leaf().to_vec();
    let certificates = load.certificates.lock().unwrap();
    assert!(certificates.order[&shown] >= certificates.acknowledged, "the last certificate is lost");
    let handshakes = load.handshakes.load(Ordering::Relaxed);
    assert!(handshakes > certificates.runs);
    println!("{} swaps that ran and {handshakes} handshakes", certificates.runs);
}

/// What the old primary received before it hung is carried out. Transactions waiting for the lost
/// standby wait for ever and stay invisible.
fn wait_for_what_was_under_way(primary: &PostgresServer) {
    let there = "SELECT coalesce(string_agg(pid::text, ','), '0') FROM pg_stat_activity \
                 WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()";
    let before = primary.query(DATABASE, there);
    let left = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid IN ({before}) AND wait_event IS DISTINCT FROM 'SyncRep'"
    );
    wait_until("an end of what was under way", || (primary.query(DATABASE, &left) == "0").then_some(()));
}

fn assert_left_alone(primary: &PostgresServer, load: &Load) {
    let written =
        "SELECT (SELECT count(*) FROM project), (SELECT value FROM counter WHERE name = 'generation'),
                          (SELECT max(lease_until) FROM node)";
    let before = primary.query(DATABASE, written);
    load.wait_for_more("changes beside the old primary");
    assert_eq!(primary.query(DATABASE, written), before);
}

#[test]
fn a_primary_whose_machine_lost_its_power_costs_nothing_and_is_not_written_to_when_it_is_back() {
    for _ in 0..effort().failovers {
        fail_over(PostgresServer::kill, |primary, load| {
            primary.resume();
            // The worst case: it no longer waits for its standby.
            primary.query("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
            primary.query("postgres", "SELECT pg_reload_conf()");
            wait_until("an old primary that takes writes", || {
                (primary.query("postgres", "SHOW synchronous_standby_names").is_empty()).then_some(())
            });
            assert_left_alone(primary, load);
        });
    }
}

#[test]
fn a_primary_that_hung_while_its_standby_was_promoted_is_not_written_to() {
    for _ in 0..effort().failovers {
        fail_over(
            |primary| primary.signal_all(Signal::STOP),
            |primary, load| {
                primary.signal_all(Signal::CONT);
                wait_for_what_was_under_way(primary);
                assert_left_alone(primary, load);
            },
        );
    }
}

#[test]
fn without_its_standby_a_primary_acknowledges_nothing_whatever_it_is_asked_for() {
    let primary = PostgresServer::start_on_tcp();
    primary.database();
    let mut standby = primary.start_synchronous_standby();
    let scene = Scene::with(Setup { store: Some(primary.tcp_url(DATABASE)), ..Setup::default() });
    let first = scene.run_one_way();
    standby.stop();
    // A timeout must not turn the wait for the standby into a success.
    let (second, api) = (scene.leaf(), scene.api());
    let answer = api.put_tls(Scene::DEPLOYMENT, &second.one_way()).expect(503);
    assert_eq!(answer.code(), "STORE_UNAVAILABLE");
    let shown = scene.connect(&scene.device(), "meanwhile").unwrap().leaf().to_vec();
    assert_eq!(shown, first.der);

    standby.resume();
    let third = scene.leaf();
    wait_until("a change that is acknowledged again", || {
        let answer = api.put_tls(Scene::DEPLOYMENT, &third.one_way());
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    });
    api.wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "after").unwrap().leaf(), third.der);
}

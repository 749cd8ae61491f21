//! A primary and its synchronous standby: what certward has acknowledged is there after a fail-over, and devices notice
//! nothing.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{PostgresServer, Scene, Setup, wait_until};
use rustix::process::Signal;

const DATABASE: &str = "test0";

/// A load of changes and handshakes from a start to an end.
#[derive(Default)]
struct Load {
    end: AtomicBool,
    /// The names of the projects whose creation was acknowledged.
    acknowledged: Mutex<Vec<String>>,
    handshakes: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Load {
    fn change(&self, scene: &Scene) {
        for number in 0.. {
            if self.end.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("p{number}");
            let body = format!("{{\"projectID\":\"{name}\"}}");
            let fields = "Content-Type: application/json\r\n";
            let answer = scene.api().try_send("POST", "/projects", fields, &body);
            if answer.is_ok_and(|answer| answer.status == 201) {
                self.acknowledged.lock().unwrap().push(name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn connect(&self, scene: &Scene) {
        let device = scene.device();
        while !self.end.load(Ordering::Relaxed) {
            if let Err(e) = scene.connect(&device, "device") {
                self.failed.lock().unwrap().push(e.to_string());
            }
            self.handshakes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// More than there are now.
    fn wait_for_more(&self, what: &str) {
        let before = self.count();
        wait_until(what, || (self.count() > before + 5).then_some(()));
    }
}

/// Under load, `lose` takes the primary away, the standby is promoted, and `after` looks at both.
fn fail_over(lose: impl FnOnce(&mut PostgresServer), after: impl FnOnce(&PostgresServer, &Load)) {
    let mut primary = PostgresServer::start_on_tcp();
    primary.database();
    let standby = primary.start_synchronous_standby();
    let store = format!("{} {}", primary.tcp_url(DATABASE), standby.tcp_url(DATABASE));
    let scene = Scene::with(Setup { store: Some(store), ..Setup::default() });
    scene.run_one_way();
    let load = Load::default();
    thread::scope(|scope| {
        scope.spawn(|| load.change(&scene));
        scope.spawn(|| load.connect(&scene));
        load.wait_for_more("changes before");
        lose(&mut primary);
        standby.promote();
        load.wait_for_more("changes after");
        let leaf = scene.leaf();
        scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
        scene.api().wait_running(Scene::DEPLOYMENT);
        assert_eq!(scene.connect(&scene.device(), "new").unwrap().leaf(), leaf.der);
        after(&primary, &load);
        load.end.store(true, Ordering::Relaxed);
    });
    let there = standby.query(DATABASE, "SELECT id FROM project");
    for name in load.acknowledged.lock().unwrap().iter() {
        assert!(there.lines().any(|line| line == name), "{name} was acknowledged and is lost");
    }
    assert!(load.handshakes.load(Ordering::Relaxed) > 0);
    assert_eq!(*load.failed.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_primary_that_is_lost_costs_no_acknowledged_change_and_no_handshake() {
    fail_over(PostgresServer::stop, |_, _| {});
}

#[test]
fn a_primary_that_comes_back_after_its_standby_was_promoted_is_not_written_to() {
    fail_over(
        |primary| primary.signal_all(Signal::STOP),
        |primary, load| {
            primary.signal_all(Signal::CONT);
            let before = primary.query(DATABASE, "SELECT count(*) FROM project");
            load.wait_for_more("changes beside the old primary");
            assert_eq!(primary.query(DATABASE, "SELECT count(*) FROM project"), before);
        },
    );
}

//! A new process takes over: no connection is refused, cut off or served an old certificate.

use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{
    Api, Certward, Device, Leaf, Packet, Process, Scene, Session, Setup, effort, wait_until,
};

/// Devices that reconnect, beside those that stay.
const WORKERS: usize = 4;
const STAYING: usize = 10;

struct Load {
    api: Api,
    address: SocketAddr,
    order: HashMap<Vec<u8>, usize>,
    /// The newest reported `running`.
    running: AtomicUsize,
    over: AtomicBool,
    handshakes: AtomicUsize,
    requests: AtomicUsize,
    closed: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Load {
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn handshake(&self, worker: usize, device: &Device) {
        let device = device.clone();
        let device = if worker.is_multiple_of(2) { device.with_tls13() } else { device.with_tls12() };
        while !self.is_over() {
            let oldest = self.running.load(Ordering::SeqCst);
            let mut session = match device.handshake(self.address, Scene::HOST) {
                Ok(session) => session,
                Err(error) => {
                    self.fault(format!("a handshake failed: {error}"));
                    continue;
                }
            };
            let shown = self.order[session.leaf()];
            if shown < oldest {
                self.fault(format!("certificate {shown} was shown after {oldest} was running"));
            }
            let connect = Packet::connect(&format!("worker-{worker}"));
            if let Err(error) = session.exchange(&connect, &Packet::CONNACK) {
                self.end(&error);
            }
            self.handshakes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reconnects after a close_notify.
    fn stay(&self, number: usize, device: &Device) {
        while !self.is_over() {
            let mut session = match device.connect(self.address, Scene::HOST, &format!("staying-{number}")) {
                Ok(session) => session,
                Err(error) => {
                    self.end(&error);
                    continue;
                }
            };
            while !self.is_over() {
                if let Err(error) = session.ping() {
                    self.end(&error);
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// A close_notify is no fault: the old process drains.
    fn end(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::UnexpectedEof && !error.to_string().contains("close_notify") {
            self.closed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.fault(format!("a connection was cut off: {error}"));
        }
    }

    fn ask(&self) {
        while !self.is_over() {
            match self.api.try_send("GET", "/deployments", "", "") {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => self.fault(format!("a request was answered by {answer:?}")),
                Err(error) => self.fault(format!("a request was not answered: {error}")),
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn swap(&self, leaves: &[Leaf]) {
        for (number, leaf) in leaves.iter().enumerate().skip(1) {
            if self.is_over() {
                return;
            }
            self.api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
            self.api.wait_running(Scene::DEPLOYMENT);
            self.running.store(number, Ordering::SeqCst);
        }
    }

    /// One more event of each kind of load.
    fn wait(&self) {
        let seen = || {
            [&self.handshakes, &self.requests, &self.running].map(|counter| counter.load(Ordering::SeqCst))
        };
        let [handshakes, requests, running] = seen();
        wait_until("load", || {
            let now = seen();
            (now[0] > handshakes + WORKERS && now[1] > requests && now[2] > running).then_some(())
        });
    }
}

#[test]
fn takeovers_refuse_and_cut_off_no_device_and_serve_no_old_certificate() {
    let takeovers = effort().takeovers;
    let mut scene = Scene::with(Setup { drain: "2s", log_level: "info", ..Setup::default() });
    let leaves: Vec<Leaf> = (0..=50 * takeovers).map(|_| scene.leaf()).collect();
    scene.api().post_tls(Scene::DEPLOYMENT, &leaves[0].one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let load = Load {
        api: scene.api(),
        address: scene.certward.mqtts(),
        order: leaves.iter().enumerate().map(|(number, leaf)| (leaf.der.clone(), number)).collect(),
        running: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        handshakes: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
        closed: AtomicUsize::new(0),
        faults: Mutex::default(),
    };
    let device = scene.device();
    thread::scope(|scope| {
        let (load, device, leaves) = (&load, &device, &leaves);
        for number in 0..STAYING {
            scope.spawn(move || load.stay(number, device));
        }
        for worker in 0..WORKERS {
            scope.spawn(move || load.handshake(worker, device));
        }
        scope.spawn(move || load.ask());
        scope.spawn(move || load.swap(leaves));
        // The load must end even if a take-over fails.
        let taken_over = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut before: Vec<Process> = Vec::new();
            for _ in 0..takeovers {
                load.wait();
                before.push(scene.certward.take_over());
            }
            load.wait();
            for mut process in before {
                assert!(process.wait().success(), "a process that was taken over from ends well");
            }
        }));
        load.over.store(true, Ordering::SeqCst);
        taken_over.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let faults = load.faults.into_inner().unwrap();
    let closed = load.closed.into_inner();
    println!(
        "{takeovers} takeovers, {} handshakes, {} requests, {} swaps, {closed} connections closed, {} faults",
        load.handshakes.into_inner(),
        load.requests.into_inner(),
        load.running.into_inner(),
        faults.len()
    );
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
    assert!(closed > 0, "devices that stay are closed");
}

#[test]
fn devices_stay_with_the_process_before_until_its_drain_ends() {
    let mut scene = Scene::with(Setup { drain: "1h", ..Setup::default() });
    scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "staying").unwrap();
    let mut before = scene.certward.take_over();
    session.ping().unwrap();
    scene.connect(&scene.device(), "new").unwrap().ping().unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    session.ping().unwrap();
    // A deletion through the new process closes the old one's sessions.
    scene.api().delete_tls(Scene::DEPLOYMENT).expect(204);
    assert!(session.wait_closed().unwrap());
    assert!(before.wait().success(), "without connections nothing is left to do");
}

/// The running process is unaffected.
fn goes_on(scene: &mut Scene, session: &mut Session) {
    assert!(scene.certward.process().is_running());
    session.ping().unwrap();
    scene.connect(&scene.device(), "new").unwrap().ping().unwrap();
    let leaf = scene.leaf();
    scene.api().put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    assert_eq!(scene.connect(&scene.device(), "new").unwrap().leaf(), leaf.der);
}

#[test]
fn a_process_that_cannot_serve_takes_nothing_over() {
    let mut scene = Scene::new();
    scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "staying").unwrap();
    let good = fs::read_to_string(scene.certward.config()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = std::net::TcpListener::bind(taken).unwrap();
    let address = taken.local_addr().unwrap();
    let listener = format!("[[gateway.listener]]\nlisten = \"{address}\"\nprotocol = \"mqtts\"\n");
    let key = scene.certward.folder().join("other.key");
    fs::write(&key, "0".repeat(64)).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let cases = [
        ("before it reads the store", format!("{good}\n[nonsense]\n"), 2, "nonsense"),
        ("before it asks", format!("master_key_file = {key:?}\n{good}"), 1, "master key"),
        ("after it has asked", format!("{good}\n{listener}"), 1, "cannot listen"),
    ];
    for (case, text, code, says) in cases {
        let config = scene.certward.folder().join("broken.toml");
        fs::write(&config, text).unwrap();
        let output = scene.certward.run_takeover(&config);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{case}: {stderr}");
        assert!(stderr.contains(says), "{case}: {stderr}");
        goes_on(&mut scene, &mut session);
    }
    scene.certward.take_over();
    scene.connect(&scene.device(), "new").unwrap().ping().unwrap();
}

#[test]
fn a_process_that_is_killed_after_its_takeover_is_started_again_as_usual() {
    let mut scene = Scene::with(Setup { drain: "1h", ..Setup::default() });
    scene.run_one_way();
    let mut session = scene.connect(&scene.device(), "staying").unwrap();
    let _before = scene.certward.take_over();
    scene.certward.kill();
    // The old process has devices, and nothing that a new start needs.
    session.ping().unwrap();
    scene.certward.serve();
    session.ping().unwrap();
    let mut fresh = scene.connect(&scene.device(), "new").unwrap();
    goes_on(&mut scene, &mut fresh);
}

#[test]
fn without_a_process_to_take_over_from_it_starts_as_usual() {
    let mut certward = Certward::start();
    let socket = certward.data().join("takeover.sock");
    wait_until("the offer", || socket.exists().then_some(()));
    certward.kill();
    assert!(socket.exists(), "a killed process leaves its socket's file");
    let mut command = std::process::Command::new(certward_tests::certward_binary());
    command.args(["serve", "--takeover", "--config"]).arg(certward.config());
    let mut process = Process::start("certward", certward.folder(), &mut command);
    process.wait_for("to take over from", 1);
    wait_until("readiness", || {
        let ready = certward.api().try_send_at("GET", "/readyz", "", "");
        ready.is_ok_and(|answer| answer.status == 200).then_some(())
    });
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait().success());
    assert!(!socket.exists(), "one that ends by itself takes it away");
}

#[test]
fn a_data_folder_with_a_long_name_only_rules_a_takeover_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path().join("d".repeat(120)));
    let certward = Certward::start_with(Setup { data, ..Setup::default() });
    wait_until("the warning", || {
        certward.log().contains("no other process can take over from this one").then_some(())
    });
    certward.api().send("GET", "/deployments", None).expect(200);
}

//! Certificates are swapped while devices connect and ping.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use certward_tests::{Device, Leaf, Scene, effort};

struct Load {
    scene: Scene,
    order: HashMap<Vec<u8>, usize>,
    /// The newest reported `running`.
    running: AtomicUsize,
    over: AtomicBool,
    handshakes: AtomicUsize,
    pings: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Load {
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn handshake(&self, worker: usize) {
        let device = self.scene.device();
        let device = if worker.is_multiple_of(2) { device.with_tls13() } else { device.with_tls12() };
        while !self.is_over() {
            // The oldest certificate that this handshake may get.
            let oldest = self.running.load(Ordering::SeqCst);
            match self.scene.connect(&device, &format!("worker-{worker}")) {
                Ok(session) => {
                    let shown = self.order[session.leaf()];
                    if shown < oldest {
                        self.fault(format!("certificate {shown} was shown after {oldest} was running"));
                    }
                    self.handshakes.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => self.fault(format!("a handshake failed: {error}")),
            }
        }
    }

    fn ping(&self, number: usize, device: &Device) {
        let mut session = match self.scene.connect(device, &format!("pinging-{number}")) {
            Ok(session) => session,
            Err(error) => return self.fault(format!("connection {number} did not begin: {error}")),
        };
        while !self.is_over() {
            if let Err(error) = session.ping() {
                return self.fault(format!("connection {number} was dropped: {error}"));
            }
            self.pings.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn swap(&self, leaves: &[Leaf]) {
        let api = self.scene.api();
        for (number, leaf) in leaves.iter().enumerate().skip(1) {
            api.put_tls(Scene::DEPLOYMENT, &leaf.one_way()).expect(200);
            api.wait_running(Scene::DEPLOYMENT);
            self.running.store(number, Ordering::SeqCst);
        }
    }
}

#[test]
fn swaps_fail_no_handshake_drop_no_connection_and_show_nothing_old() {
    let effort = effort();
    let scene = Scene::new();
    let leaves: Vec<Leaf> = (0..=effort.swaps).map(|_| scene.leaf()).collect();
    scene.api().post_tls(Scene::DEPLOYMENT, &leaves[0].one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
    let order = leaves.iter().enumerate().map(|(number, leaf)| (leaf.der.clone(), number)).collect();
    let load = Load {
        scene,
        order,
        running: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        handshakes: AtomicUsize::new(0),
        pings: AtomicUsize::new(0),
        faults: Mutex::default(),
    };

    thread::scope(|scope| {
        let device = load.scene.device();
        for number in 0..effort.pinging_connections {
            let (load, device) = (&load, device.clone());
            scope.spawn(move || load.ping(number, &device));
        }
        for worker in 0..effort.handshake_workers {
            let load = &load;
            scope.spawn(move || load.handshake(worker));
        }
        // The load starts before the first swap and ends even if a swap fails.
        let all_ping = || load.pings.load(Ordering::Relaxed) >= effort.pinging_connections;
        certward_tests::came_within(certward_tests::DEADLINE, || all_ping().then_some(()));
        let swapped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| load.swap(&leaves)));
        load.over.store(true, Ordering::SeqCst);
        swapped.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });

    let faults = load.faults.into_inner().unwrap();
    let (handshakes, pings) = (load.handshakes.into_inner(), load.pings.into_inner());
    println!("{} swaps, {handshakes} handshakes, {pings} pings, {} faults", effort.swaps, faults.len());
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
    assert!(handshakes > effort.swaps && pings > effort.pinging_connections);
}

//! Hours of mixed load: memory stays flat and no descriptor leaks. About 40 % of one core for
//! certward, brokers and clients. Every error of a well-behaved device is a failure.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use certward_tests::{
    Authority, Device, Packet, Resources, Scene, Session, Setup, came_within, connect_from,
};
use serde_json::json;

use crate::{
    judge::Flatness,
    results::{Part, Report, Table, Value},
};

const SAMPLE: Duration = Duration::from_secs(10);
/// One-time allocations exist by then.
const WARM_UP: Duration = Duration::from_secs(30);
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
const TWO_WAY: &str = "two-way";
const PASSING: usize = 50;
const PINGING: usize = 50;
/// Until a connection is replaced.
const MESSAGES: u64 = 500;

pub(crate) fn measure(minutes: u64) -> Report {
    let mut report = Report::new("hour");
    report.whole = minutes >= 60;
    let mut world = World::new();
    let certward = world.scene.certward.process().id();
    let look = || Resources::of(certward).expect("certward runs");
    Load::new(&world).run(WARM_UP, || {});
    world.scene.certward.process().wait_resting();
    let before = look();

    let (load, begin) = (Load::new(&world), Instant::now());
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let seconds = || begin.elapsed().as_secs_f64();
    load.run(Duration::from_secs(60 * minutes), || samples.push((seconds(), look().resident_mib())));
    let Load { done, failures, .. } = load;
    let (done, failures) = (done.into_inner().expect("no panic"), failures.into_inner().expect("no panic"));
    let cpu = look().cpu.saturating_sub(before.cpu).as_secs_f64() / seconds();
    world.scene.certward.process().wait_resting();
    let recovered =
        came_within(RECOVERED_WITHIN, || (look().descriptors <= before.descriptors).then_some(()));
    let after = look();

    let judged = |is_well: bool, text: String| if is_well { Value::Text(text) } else { Value::Fault(text) };
    let (mut table, span) = (Table::default(), format!("in {minutes} minutes"));
    let mut row = |name: &str, value: Value| table.row([(span.as_str(), name.into()), ("", value)]);
    done.into_iter().for_each(|(name, count)| row(name, count.into()));
    row("failures", judged(failures.is_empty(), failures.len().to_string()));
    row("certward's share of one core", format!("{:.1} %", 100.0 * cpu).into());
    let flat = Flatness::of(&samples.iter().map(|(_, mib)| *mib).collect::<Vec<_>>());
    let memory = "resident memory, mean of the second sixth and of the last";
    row(memory, judged(flat.is_flat(), flat.to_string()));
    let leaked = if recovered.is_some() { "none leaked" } else { "leaked" };
    let descriptors = format!("{}, {}: {leaked}", before.descriptors, after.descriptors);
    row("descriptors at rest, before and after", judged(recovered.is_some(), descriptors));
    row("threads, before and after", format!("{}, {}", before.threads, after.threads).into());
    report.table(table);
    failures.into_iter().take(5).for_each(|failure| report.text(format!("Failed: {failure}")));
    report.parts.push(Part::Memory(samples));
    report
}

struct World {
    scene: Scene,
    clients: Authority,
}

impl World {
    fn new() -> Self {
        let scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
        scene.run_one_way();
        let world = Self { scene, clients: Authority::new("Device CA") };
        let api = world.scene.api();
        api.create_deployment(TWO_WAY, &world.scene.broker.upstream(), &["two-way.example"]);
        let leaf = world.scene.authority.server(&["two-way.example"]);
        api.post_tls(TWO_WAY, &leaf.two_way(world.clients.pem())).expect(200);
        api.wait_running(TWO_WAY);
        world
    }
}

struct Load<'a> {
    world: &'a World,
    over: AtomicBool,
    done: Mutex<BTreeMap<&'static str, usize>>,
    failures: Mutex<Vec<String>>,
}

impl<'a> Load<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, over: AtomicBool::new(false), done: Mutex::default(), failures: Mutex::default() }
    }

    fn run(&self, span: Duration, mut sample: impl FnMut()) {
        let begin = Instant::now();
        thread::scope(|scope| {
            let device = self.world.scene.device();
            let (tls13, tls12) = (device.clone().with_tls13(), device.clone().with_tls12());
            let resuming = device.with_resumption();
            scope.spawn(|| self.connect("new connections, TLS 1.3", tls13));
            scope.spawn(|| self.connect("new connections, TLS 1.2", tls12));
            scope.spawn(|| self.connect("resumed connections", resuming));
            scope.spawn(|| self.connect_two_way());
            scope.spawn(|| self.misbehave());
            scope.spawn(|| self.ping());
            scope.spawn(|| self.talk("messages of 100 bytes", 100, Duration::from_millis(10)));
            scope.spawn(|| self.talk("messages of 256 KiB", 256 * 1024, Duration::from_millis(200)));
            scope.spawn(|| self.swap());
            scope.spawn(|| self.make_and_delete());
            while begin.elapsed() < span {
                sample();
                thread::sleep(SAMPLE.min(span.saturating_sub(begin.elapsed())));
            }
            self.over.store(true, Ordering::SeqCst);
        });
    }

    fn repeat(&self, name: &'static str, pause: Duration, mut act: impl FnMut(u64) -> Result<()>) {
        let mut number = 0;
        while !self.over.load(Ordering::SeqCst) {
            match act(number) {
                Ok(()) => *self.done.lock().expect("the counts").entry(name).or_default() += 1,
                Err(error) => self.failures.lock().expect("the failures").push(format!("{name}: {error:#}")),
            }
            number += 1;
            thread::sleep(pause);
        }
    }

    fn connect(&self, name: &'static str, device: Device) {
        self.repeat(name, Duration::from_millis(25), |_| {
            Ok(self.world.scene.connect(&device, name)?.ping()?)
        });
    }

    fn connect_two_way(&self) {
        let device = self.world.scene.device().with_identity(&self.world.clients.client("device"));
        let address = self.world.scene.certward.mqtts();
        self.repeat("two-way connections", Duration::from_millis(50), |_| {
            Ok(device.connect(address, "two-way.example", "two-way")?.ping()?)
        });
    }

    fn misbehave(&self) {
        let (address, device) = (self.world.scene.certward.mqtts(), self.world.scene.device());
        let say = |bytes: &[u8]| {
            let said = connect_from(None, address).and_then(|mut stream| {
                stream.write_all(bytes)?;
                stream.read(&mut [0; 64])
            });
            // An alert, a close and a reset are all answers.
            drop(said);
            Ok(())
        };
        let refused = |connected: io::Result<Session>| {
            ensure!(connected.is_err(), "was accepted");
            Ok(())
        };
        self.repeat("bad handshakes, refused", Duration::from_millis(50), |number| match number % 5 {
            0 => refused(device.connect(address, "nobody.example", "stranger")),
            1 => refused(device.connect(address, "two-way.example", "nameless")),
            2 => say(b"GET / HTTP/1.1\r\n\r\n"),
            3 => say(&[0x99; 300]),
            _ => say(&[22, 3, 1, 0, 1, 1, 21, 3, 3, 0, 2, 1, 0]),
        });
    }

    fn ping(&self) {
        let device = self.world.scene.device();
        let mut sessions: Vec<Option<Session>> = (0..PINGING).map(|_| None).collect();
        self.repeat("pings on long connections", Duration::from_millis(20), |number| {
            let place = &mut sessions[number as usize % PINGING];
            let mut session = match place.take() {
                Some(session) if number % 997 != 0 => session,
                _ => self.world.scene.connect(&device, &format!("pinging-{}", number % 50))?,
            };
            session.ping()?;
            *place = Some(session);
            Ok(())
        });
    }

    fn talk(&self, name: &'static str, length: usize, pause: Duration) {
        let device = self.world.scene.device();
        let topic = format!("topic-{length}");
        let message = Packet::publish(&topic, &vec![0x55; length]);
        let mut kept: Option<Session> = None;
        self.repeat(name, pause, |number| {
            let mut session = match kept.take() {
                Some(session) if !number.is_multiple_of(MESSAGES) => session,
                _ => {
                    let mut new = self.world.scene.connect(&device, &topic)?;
                    new.exchange(&Packet::subscribe(&topic), &[0x90, 3, 0, 1, 0])?;
                    new
                }
            };
            session.exchange(&message, message.bytes())?;
            kept = Some(session);
            Ok(())
        });
    }

    fn swap(&self) {
        let World { scene, clients } = self.world;
        self.repeat("certificates replaced until `running`", Duration::from_secs(3), |number| {
            let (id, upload) = match number % 2 {
                0 => (Scene::DEPLOYMENT, scene.leaf().one_way()),
                _ => (TWO_WAY, scene.authority.server(&["two-way.example"]).two_way(clients.pem())),
            };
            let answer = scene.api().put_tls(id, &upload);
            ensure!(answer.status == 200, "{answer:?}");
            self.see_running(id)
        });
    }

    fn see_running(&self, id: &str) -> Result<()> {
        let path = format!("/deployments/{id}/tls");
        let answer = self.world.scene.api().try_send("GET", &path, "Prefer: wait=30\r\n", "")?;
        let status = answer.tls_status();
        ensure!(status == "running", "{id} is {status:?}");
        Ok(())
    }

    fn make_and_delete(&self) {
        let World { scene, .. } = self.world;
        self.repeat("deployments created, connected to and deleted", Duration::from_secs(5), |number| {
            let id = format!("passing-{}", number as usize % PASSING);
            let host = format!("{id}.example");
            let api = scene.api();
            let fields = json!({"deploymentID": id, "upstream": scene.broker.upstream(), "hosts": [host]});
            let answer = api.send("POST", "/deployments", Some(&fields));
            ensure!(answer.status == 201, "{answer:?}");
            let connected = self.connect_to(&id, &host);
            let answer = api.send("DELETE", &format!("/deployments/{id}"), None);
            let gone = came_within(Duration::from_secs(30), || {
                (api.get(&format!("/deployments/{id}")).status == 404).then_some(())
            });
            ensure!(answer.status == 204 && gone.is_some(), "{answer:?}");
            connected
        });
    }

    fn connect_to(&self, id: &str, host: &str) -> Result<()> {
        let World { scene, .. } = self.world;
        let answer = scene.api().post_tls(id, &scene.authority.server(&[host]).one_way());
        ensure!(answer.status == 200, "{answer:?}");
        self.see_running(id)?;
        scene.device().connect(scene.certward.mqtts(), host, id)?;
        Ok(())
    }
}

//! Hours of mixed load: memory stays flat and no descriptor leaks. About 40 % of one core for
//! certward, brokers and clients. Every error of a well-behaved device is a failure.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use certward_tests::{
    Authority, Device, Packet, Resources, Scene, Session, Setup, connect_from, wait_within,
};

use serde_json::json;

use crate::render::worst_day;

const SAMPLE: Duration = Duration::from_secs(10);
/// One-time allocations exist by then.
const WARM_UP: Duration = Duration::from_secs(30);
const TWO_WAY: &str = "two-way";
const PASSING: usize = 50;
const PINGING: usize = 50;
/// Until a connection is replaced.
const MESSAGES: u64 = 500;

pub(crate) fn measure(minutes: u64) {
    let mut world = World::new();
    let certward = world.scene.certward.process().id();
    let look = || Resources::of(certward).expect("certward runs");
    Load::new(&world).run(WARM_UP, || {});
    world.scene.certward.process().wait_resting();
    let before = look();

    let (load, begin) = (Load::new(&world), Instant::now());
    let mut samples: Vec<(Duration, Resources)> = Vec::new();
    load.run(Duration::from_secs(60 * minutes), || samples.push((begin.elapsed(), look())));
    let Load { done, failures, .. } = load;
    world.scene.certward.process().wait_resting();
    let recovered = certward_tests::came_within(Duration::from_secs(60), || {
        (look().descriptors <= before.descriptors).then_some(())
    });
    let after = look();

    let csv = std::env::current_exe().expect("this program").with_file_name("hour.csv");
    fs::write(&csv, table(&samples)).expect("a place for the samples");
    println!("All samples: {}", csv.display());
    fs::write(worst_day::document("worst-day-memory.svg"), plot(&samples)).expect("a place for the plot");
    let summary = Summary {
        minutes,
        before,
        after,
        leaked: recovered.is_none(),
        flat: Flatness::of(&samples),
        used: samples.last().map_or(Duration::ZERO, |(_, last)| last.cpu.saturating_sub(before.cpu)),
        done: done.into_inner().expect("the load is over"),
        failures: failures.into_inner().expect("the load is over"),
    };
    worst_day::write("hour", &summary.text());
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
    done: Mutex<BTreeMap<&'static str, u64>>,
    failures: Mutex<Vec<String>>,
}

type Done = Result<(), String>;

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

    fn repeat(&self, name: &'static str, pause: Duration, mut act: impl FnMut(u64) -> Done) {
        let mut number = 0;
        while !self.over.load(Ordering::SeqCst) {
            match act(number) {
                Ok(()) => *self.done.lock().expect("the counts").entry(name).or_default() += 1,
                Err(error) => self.failures.lock().expect("the failures").push(format!("{name}: {error}")),
            }
            number += 1;
            thread::sleep(pause);
        }
    }

    fn connect(&self, name: &'static str, device: Device) {
        self.repeat(name, Duration::from_millis(25), |_| {
            let mut session = self.world.scene.connect(&device, name).map_err(|error| error.to_string())?;
            session.ping().map_err(|error| error.to_string())
        });
    }

    fn connect_two_way(&self) {
        let name = "two-way connections";
        let device = self.world.scene.device().with_identity(&self.world.clients.client("device"));
        let address = self.world.scene.certward.mqtts();
        self.repeat(name, Duration::from_millis(50), |_| {
            let session = device.connect(address, "two-way.example", "two-way");
            session.and_then(|mut session| session.ping()).map_err(|error| error.to_string())
        });
    }

    fn misbehave(&self) {
        let (address, device) = (self.world.scene.certward.mqtts(), self.world.scene.device());
        let say = |bytes: &[u8]| {
            let said = connect_from(None, address).and_then(|mut stream| {
                stream.write_all(bytes)?;
                std::io::Read::read(&mut stream, &mut [0; 64])
            });
            // An alert, a close and a reset are all answers.
            drop(said);
            Ok(())
        };
        let refused = |connected: std::io::Result<Session>| match connected {
            Ok(_) => Err("was let in".to_owned()),
            Err(_) => Ok(()),
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
        self.repeat("pings of connections that last", Duration::from_millis(20), |number| {
            let place = &mut sessions[number as usize % PINGING];
            if place.is_none() || number % 997 == 0 {
                *place = None;
                let session = self.world.scene.connect(&device, &format!("pinging-{}", number % 50));
                *place = Some(session.map_err(|error| error.to_string())?);
            }
            let pinged = place.as_mut().map_or(Ok(()), Session::ping);
            pinged.map_err(|error| {
                *place = None;
                error.to_string()
            })
        });
    }

    fn talk(&self, name: &'static str, length: usize, pause: Duration) {
        let device = self.world.scene.device();
        let topic = format!("topic-{length}");
        let message = Packet::publish(&topic, &vec![0x55; length]);
        let mut session = None;
        self.repeat(name, pause, |number| {
            if number.is_multiple_of(MESSAGES) {
                session = None;
            }
            let talked = match &mut session {
                Some(session) => Session::exchange(session, &message, message.bytes()),
                None => self.world.scene.connect(&device, &topic).and_then(|mut new| {
                    new.exchange(&Packet::subscribe(&topic), &[0x90, 3, 0, 1, 0])?;
                    session = Some(new);
                    Ok(())
                }),
            };
            talked.map_err(|error| {
                session = None;
                error.to_string()
            })
        });
    }

    fn swap(&self) {
        let World { scene, clients } = self.world;
        self.repeat("certificates replaced, seen running", Duration::from_secs(3), |number| {
            let (id, upload) = match number % 2 {
                0 => (Scene::DEPLOYMENT, scene.leaf().one_way()),
                _ => (TWO_WAY, scene.authority.server(&["two-way.example"]).two_way(clients.pem())),
            };
            let answer = scene.api().put_tls(id, &upload);
            if answer.status != 200 {
                return Err(format!("{answer:?}"));
            }
            self.see_running(id)
        });
    }

    fn see_running(&self, id: &str) -> Done {
        let path = format!("/deployments/{id}/tls");
        let answer = self.world.scene.api().try_send("GET", &path, "Prefer: wait=30\r\n", "");
        let status = answer.map_err(|error| error.to_string())?.tls_status();
        if status == "running" { Ok(()) } else { Err(format!("{id} is {status:?}")) }
    }

    fn make_and_delete(&self) {
        let World { scene, .. } = self.world;
        self.repeat("deployments made, met and deleted", Duration::from_secs(5), |number| {
            let id = format!("passing-{}", number as usize % PASSING);
            let host = format!("{id}.example");
            let (api, leaf) = (scene.api(), scene.authority.server(&[&host]));
            let fields = json!({"deploymentID": id, "upstream": scene.broker.upstream(), "hosts": [host]});
            let answer = api.send("POST", "/deployments", Some(&fields));
            if answer.status != 201 {
                return Err(format!("{answer:?}"));
            }
            let answer = api.post_tls(&id, &leaf.one_way());
            let met = match answer.status {
                200 => self.see_running(&id).and_then(|()| {
                    let session = scene.device().connect(scene.certward.mqtts(), &host, &id);
                    session.map(drop).map_err(|error| error.to_string())
                }),
                _ => Err(format!("{answer:?}")),
            };
            let answer = api.send("DELETE", &format!("/deployments/{id}"), None);
            let gone = wait_within(Duration::from_secs(30), "end of a deployment", || {
                Some(api.get(&format!("/deployments/{id}"))).filter(|answer| answer.status == 404)
            });
            drop(gone);
            met.and(if answer.status == 204 { Ok(()) } else { Err(format!("{answer:?}")) })
        });
    }
}

/// Means of the second and the last sixth, KiB.
struct Flatness {
    early: f64,
    late: f64,
}

impl Flatness {
    fn of(samples: &[(Duration, Resources)]) -> Self {
        let sixth = (samples.len() / 6).max(1);
        let mean = |part: &[(Duration, Resources)]| {
            part.iter().map(|(_, resources)| resources.resident_kib as f64).sum::<f64>()
                / part.len().max(1) as f64
        };
        let early = mean(&samples[sixth.min(samples.len())..(2 * sixth).min(samples.len())]);
        Self { early, late: mean(&samples[samples.len().saturating_sub(sixth)..]) }
    }

    fn growth(&self) -> f64 {
        100.0 * (self.late - self.early) / self.early
    }
}

struct Summary {
    minutes: u64,
    before: Resources,
    after: Resources,
    leaked: bool,
    flat: Flatness,
    used: Duration,
    done: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

impl Summary {
    fn text(&self) -> String {
        let Self { minutes, before, after, flat, used, done, failures, .. } = self;
        let mut text = format!("{}\n\n", worst_day::circumstances());
        writeln!(text, "| in {minutes} minutes | |\n|---|---|").expect("memory");
        for (name, count) in done {
            writeln!(text, "| {name} | {count} |").expect("memory");
        }
        writeln!(text, "| **failures** | {} |", failures.len()).expect("memory");
        let share = 100.0 * used.as_secs_f64() / (60 * (*minutes).max(1)) as f64;
        writeln!(text, "| certward's share of one core | {share:.1} % |").expect("memory");
        let verdict = if flat.growth() <= 1.0 { "flat" } else { "**not flat**" };
        let mib = |kib: f64| kib / 1024.0;
        writeln!(
            text,
            "| resident memory, mean of the second sixth and of the last | {:.2} MiB, {:.2} MiB: {:+.2} %, {verdict} |",
            mib(flat.early),
            mib(flat.late),
            flat.growth()
        )
        .expect("memory");
        let verdict = if self.leaked { "**leaked**" } else { "none leaked" };
        writeln!(
            text,
            "| descriptors at rest, before and after | {}, {}: {verdict} |",
            before.descriptors, after.descriptors
        )
        .expect("memory");
        writeln!(text, "| threads, before and after | {}, {} |", before.threads, after.threads)
            .expect("memory");
        for failure in failures.iter().take(5) {
            writeln!(text, "\nFailed: {failure}").expect("memory");
        }
        text.push_str("\n![Resident memory over time](worst-day-memory.svg)\n\n");
        text
    }
}

fn table(samples: &[(Duration, Resources)]) -> String {
    let mut text = "seconds,resident_kib,descriptors,threads,cpu_ms\n".to_owned();
    for (at, Resources { descriptors, resident_kib, threads, cpu }) in samples {
        writeln!(text, "{},{resident_kib},{descriptors},{threads},{}", at.as_secs(), cpu.as_millis())
            .expect("memory");
    }
    text
}

/// From zero, so that a slope is not exaggerated.
fn plot(samples: &[(Duration, Resources)]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 200.0;
    let most = samples.iter().map(|(_, resources)| resources.resident_mib()).fold(1.0, f64::max);
    let end = samples.last().map_or(1.0, |(at, _)| at.as_secs_f64().max(1.0));
    let mut points = String::new();
    for (at, resources) in samples {
        let x = 50.0 + (WIDTH - 60.0) * at.as_secs_f64() / end;
        let y = HEIGHT - 30.0 - (HEIGHT - 50.0) * resources.resident_mib() / most;
        write!(points, "{x:.1},{y:.1} ").expect("memory");
    }
    let (bottom, minutes) = (HEIGHT - 30.0, end / 60.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Resident memory of certward under mixed load</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <path d=\"M50 20V{bottom}H{}\" fill=\"none\" stroke=\"gray\"/>\n\
         <text x=\"45\" y=\"24\" text-anchor=\"end\">{most:.0} MiB</text>\n\
         <text x=\"45\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{minutes:.0} min</text>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"steelblue\" stroke-width=\"1.5\"/>\n\
         </svg>\n",
        WIDTH - 10.0,
        WIDTH - 10.0,
        HEIGHT - 12.0,
        points.trim_end()
    )
}

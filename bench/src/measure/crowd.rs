//! Two certwards full of idle devices, new devices, and the API's delay.

use std::{
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use certward_tests::{Api, Device, Fleet, Noticed, Resources, Route, Scene, Setup, came_within, newcomers};
use clap::Args;

use crate::results::{Report, Table};

#[derive(Debug, Args)]
pub(crate) struct CrowdOptions {
    /// Silent devices of each certward; each takes two of its descriptors
    #[arg(long, default_value_t = 9_000)]
    devices: usize,
    /// New devices a second, over both
    #[arg(long, default_value_t = 500)]
    new: u32,
    /// For how long they come
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// The silent devices of one certward: a process of their own, for their descriptors.
#[derive(Debug, Args)]
pub(crate) struct Devices {
    target: SocketAddr,
    count: usize,
    address: Ipv4Addr,
}

const CERTWARDS: u8 = 2;
const PARALLEL_HANDSHAKES: usize = 32;
/// For all devices.
const FLEET_TIMEOUT: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(5);

/// Plays devices until stdin ends; prints connected and failed counts every second.
pub(crate) fn devices(devices: &Devices) {
    let route = Route {
        target: devices.target,
        host: Scene::HOST.to_owned(),
        addresses: vec![devices.address.into()],
        device: Device::trusting_anyone(),
    };
    let fleet = Fleet::start(route, devices.count, PARALLEL_HANDSHAKES);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            println!("{} {}", fleet.connected(), fleet.failed());
            thread::sleep(Duration::from_secs(1));
        }
    });
    fleet.stop();
}

pub(crate) fn measure(options: &CrowdOptions) -> Report {
    let mut report = Report::new("crowd");
    let mut scenes: Vec<Scene> = (0..CERTWARDS).map(|_| scene()).collect();
    scenes.iter_mut().for_each(|scene| scene.certward.process().wait_resting());
    let before: Vec<Resources> = scenes.iter_mut().map(resources).collect();
    let fleets = play(&scenes, options.devices);
    let with_all: Vec<Resources> = scenes.iter_mut().map(resources).collect();
    let idle: Vec<Duration> =
        scenes.iter_mut().map(|scene| scene.certward.process().cpu_within(WINDOW)).collect();
    let beside = connect_beside(&scenes, options);
    // The next line is newer than the load.
    thread::sleep(Duration::from_secs(2));
    let counts: Vec<(usize, usize)> = fleets.iter().map(Playing::counts).collect();
    fleets.into_iter().for_each(Playing::stop);
    let after: Vec<Resources> =
        scenes.iter_mut().zip(&before).map(|(scene, before)| recovered(scene, before)).collect();
    // An allocator's free memory is reused; a leak is not.
    let fleets = play(&scenes, options.devices);
    let again: Vec<Resources> = scenes.iter_mut().map(resources).collect();
    fleets.into_iter().for_each(Playing::stop);
    report.text(format!(
        "{} silent devices in each of {CERTWARDS} certwards, and {} new ones a second beside them for {} s, each with \
         a full handshake, CONNECT and a ping.",
        options.devices, options.new, options.seconds
    ));
    let mut table = Table::default();
    let mut row = |name: &str, cell: &dyn Fn(usize) -> String| {
        table.row([("", name.into()), ("first", cell(0).into()), ("second", cell(1).into())]);
    };
    row("descriptors before, with all, after", &|n| {
        format!("{}, {}, {}", before[n].descriptors, with_all[n].descriptors, after[n].descriptors)
    });
    row("resident MiB before, with all, after them, with all again", &|n| {
        [&before, &with_all, &after, &again].map(|at| format!("{:.1}", at[n].resident_mib())).join(", ")
    });
    row("KiB a device", &|n| {
        let kib = with_all[n].resident_kib.saturating_sub(before[n].resident_kib);
        format!("{:.1}", kib as f64 / options.devices as f64)
    });
    row("share of a core with all silent", &|n| {
        format!("{:.1} %", 100.0 * idle[n].as_secs_f64() / WINDOW.as_secs_f64())
    });
    row("silent devices still connected", &|n| counts[n].0.to_string());
    row("their failed attempts", &|n| counts[n].1.to_string());
    report.table(table);
    report.table(beside);
    report
}

fn scene() -> Scene {
    let scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
    scene.run_one_way();
    scene.connect(&scene.device(), "first").expect("all is quiet");
    scene
}

/// New devices of all certwards, and the API's clients of the first.
fn connect_beside(scenes: &[Scene], options: &CrowdOptions) -> Table {
    let span = Duration::from_secs(options.seconds);
    let (new, healthz, tls) = thread::scope(|scope| {
        let comers = scenes.iter().zip(1..).map(|(scene, last)| {
            let route = scene.route([Ipv4Addr::new(127, 0, 5, last)]);
            scope.spawn(move || newcomers(route, options.new / u32::from(CERTWARDS), span))
        });
        let comers: Vec<_> = comers.collect();
        let api = scenes[0].api();
        let asked = scope.spawn(move || ask(&api, span));
        let mut new = Noticed::default();
        for comer in comers {
            let noticed = comer.join().expect("newcomers");
            new.times.extend(noticed.times);
            new.failures.extend(noticed.failures);
        }
        let (healthz, tls) = asked.join().expect("answers");
        (new, healthz, tls)
    });
    let mut table = Table::default();
    for (name, noticed) in [("new devices", new), ("GET /healthz", healthz), ("GET of a certificate", tls)] {
        let ms = |share| (noticed.within(share).as_secs_f64() * 1e3).into();
        table.row([
            ("beside them", name.into()),
            ("done", noticed.times.len().into()),
            ("failed", noticed.failures.len().into()),
            ("ms: median", ms(0.5)),
            ("99 %", ms(0.99)),
        ]);
    }
    table
}

fn resources(scene: &mut Scene) -> Resources {
    scene.certward.process().resources()
}

fn recovered(scene: &mut Scene, before: &Resources) -> Resources {
    const ANY_KIB: u64 = 1 << 40;
    scene.certward.process().wait_recovered(before, ANY_KIB).0
}

fn play(scenes: &[Scene], count: usize) -> Vec<Playing> {
    let fleets: Vec<Playing> =
        scenes.iter().zip(1..).map(|(scene, last)| Playing::start(scene, count, last)).collect();
    fleets.iter().for_each(|fleet| fleet.wait_connected(count));
    fleets
}

struct Playing {
    child: Child,
    /// The last connected and failed counts.
    counts: Arc<Mutex<(usize, usize)>>,
}

impl Playing {
    fn start(scene: &Scene, count: usize, last: u8) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("devices").arg(scene.certward.mqtts().to_string()).arg(count.to_string());
        command.arg(Ipv4Addr::new(127, 0, 4, last).to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program again");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let counts = Arc::<Mutex<(usize, usize)>>::default();
        let latest = Arc::clone(&counts);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut numbers = line.split_whitespace().filter_map(|text| text.parse().ok());
                if let (Some(connected), Some(failed)) = (numbers.next(), numbers.next()) {
                    *latest.lock().expect("the counts") = (connected, failed);
                }
            }
        });
        Self { child, counts }
    }

    fn wait_connected(&self, count: usize) {
        let all = || (self.counts().0 == count).then_some(());
        came_within(FLEET_TIMEOUT, all).unwrap_or_else(|| panic!("{:?} of {count} connected", self.counts()));
    }

    fn counts(&self) -> (usize, usize) {
        *self.counts.lock().expect("the counts")
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        came_within(FLEET_TIMEOUT, || self.child.try_wait().ok().flatten()).expect("the devices are gone");
    }
}

/// Each request on its own connection.
fn ask(api: &Api, span: Duration) -> (Noticed, Noticed) {
    let (begin, mut healthz, mut tls) = (Instant::now(), Noticed::default(), Noticed::default());
    let path = format!("/public_api/v1/deployments/{}/tls", Scene::DEPLOYMENT);
    while begin.elapsed() < span {
        for (path, noticed) in [("/healthz", &mut healthz), (path.as_str(), &mut tls)] {
            let asked = Instant::now();
            match api.try_send_at("GET", path, "", "") {
                Ok(answer) if answer.status == 200 => noticed.times.push(asked.elapsed()),
                Ok(answer) => noticed.failures.push(format!("{answer:?}")),
                Err(error) => noticed.failures.push(error.to_string()),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    (healthz, tls)
}

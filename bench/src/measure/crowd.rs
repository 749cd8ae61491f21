//! Two certwards full of idle devices, new devices, and the API's delay.

use std::{
    fmt::Write as _,
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

use crate::render::worst_day;

#[derive(Debug, Args)]
pub(crate) struct Crowd {
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

pub(crate) fn measure(crowd: &Crowd) {
    let mut scenes: Vec<Scene> = (0..CERTWARDS)
        .map(|_| {
            let scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
            scene.run_one_way();
            scene.connect(&scene.device(), "first").expect("all is quiet");
            scene
        })
        .collect();
    scenes.iter_mut().for_each(|scene| scene.certward.process().wait_resting());
    let before: Vec<Resources> = scenes.iter_mut().map(resources).collect();
    let fleets = play(&scenes, crowd.devices);
    let with_all: Vec<Resources> = scenes.iter_mut().map(resources).collect();
    let idle: Vec<Duration> =
        scenes.iter_mut().map(|scene| scene.certward.process().cpu_within(WINDOW)).collect();

    let span = Duration::from_secs(crowd.seconds);
    let (new, healthz, tls) = thread::scope(|scope| {
        let comers: Vec<_> = scenes
            .iter()
            .zip(1..)
            .map(|(scene, last)| {
                let route = scene.route([Ipv4Addr::new(127, 0, 5, last)]);
                scope.spawn(move || newcomers(route, crowd.new / u32::from(CERTWARDS), span))
            })
            .collect();
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
    // The next line is newer than the load.
    thread::sleep(Duration::from_secs(2));
    let said: Vec<(usize, usize)> = fleets.iter().map(Playing::said).collect();
    fleets.into_iter().for_each(Playing::stop);
    let after: Vec<Resources> =
        scenes.iter_mut().zip(&before).map(|(scene, before)| recovered(scene, before)).collect();
    // An allocator's free memory is reused; a leak is not.
    let fleets = play(&scenes, crowd.devices);
    let again: Vec<Resources> = scenes.iter_mut().map(resources).collect();
    fleets.into_iter().for_each(Playing::stop);

    let mut text = format!(
        "{}\n\n{} silent devices in each of {CERTWARDS} certwards, and {} new ones a second beside them for {} s, each with a full handshake, CONNECT \
         and a ping:\n\n| | first | second |\n|---|---|---|\n",
        worst_day::circumstances(),
        crowd.devices,
        crowd.new,
        crowd.seconds
    );
    let mut row = |name: &str, cell: &dyn Fn(usize) -> String| {
        writeln!(text, "| {name} | {} | {} |", cell(0), cell(1)).expect("memory");
    };
    row("descriptors before, with all, after", &|n| {
        format!("{}, {}, {}", before[n].descriptors, with_all[n].descriptors, after[n].descriptors)
    });
    row("resident MiB before, with all, when they are gone, with all again", &|n| {
        [&before, &with_all, &after, &again].map(|at| format!("{:.1}", at[n].resident_mib())).join(", ")
    });
    row("KiB a device", &|n| {
        let kib = with_all[n].resident_kib.saturating_sub(before[n].resident_kib);
        format!("{:.1}", kib as f64 / crowd.devices as f64)
    });
    row("share of a core with all silent", &|n| {
        format!("{:.1} %", 100.0 * idle[n].as_secs_f64() / WINDOW.as_secs_f64())
    });
    let ms = |noticed: &Noticed, share: f64| noticed.within(share).as_secs_f64() * 1000.0;
    row("silent devices still connected", &|n| said[n].0.to_string());
    row("their tries that failed", &|n| said[n].1.to_string());
    write!(text, "\n| beside them | done | failed | ms: median | 99 % |\n|---|---|---|---|---|\n")
        .expect("memory");
    for (name, noticed) in [("new devices", &new), ("GET /healthz", &healthz), ("GET of a certificate", &tls)]
    {
        writeln!(
            text,
            "| {name} | {} | {} | {:.1} | {:.1} |",
            noticed.times.len(),
            noticed.failures.len(),
            ms(noticed, 0.5),
            ms(noticed, 0.99)
        )
        .expect("memory");
    }
    text.push('\n');
    worst_day::write("crowd", &text);
}

fn resources(scene: &mut Scene) -> Resources {
    scene.certward.process().resources()
}

fn recovered(scene: &mut Scene, before: &Resources) -> Resources {
    const WHATEVER_KIB: u64 = 1 << 40;
    scene.certward.process().wait_recovered(before, WHATEVER_KIB).0
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
    said: Arc<Mutex<(usize, usize)>>,
}

impl Playing {
    fn start(scene: &Scene, count: usize, last: u8) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("devices").arg(scene.certward.mqtts().to_string()).arg(count.to_string());
        command.arg(Ipv4Addr::new(127, 0, 4, last).to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program again");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let said = Arc::<Mutex<(usize, usize)>>::default();
        let hearing = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut numbers = line.split_whitespace().filter_map(|text| text.parse().ok());
                if let (Some(connected), Some(failed)) = (numbers.next(), numbers.next()) {
                    *hearing.lock().expect("what was said") = (connected, failed);
                }
            }
        });
        Self { child, said }
    }

    fn wait_connected(&self, count: usize) {
        let all = || (self.said().0 == count).then_some(());
        came_within(FLEET_TIMEOUT, all).unwrap_or_else(|| panic!("{:?} of {count} connected", self.said()));
    }

    fn said(&self) -> (usize, usize) {
        *self.said.lock().expect("what was said")
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

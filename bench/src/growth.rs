use std::time::{Duration, Instant};

use certward_tests::{Authority, Certward, Device, Setup, wait_within};

/// What `bench/run growth` measures in a minute or two.
pub(crate) const COUNTS: &[usize] = &[1, 1_000, 10_000];
/// What `bench/run growth-100k` measures: a quarter of an hour.
pub(crate) const COUNTS_TO_100K: &[usize] = &[1, 1_000, 10_000, 100_000];
const MAKERS: usize = 4;

/// Start time and memory with growing counts of deployments, each with a certificate of its own that is `running`.
pub(crate) fn measure(counts: &[usize]) {
    // Proofs of ten thousand new certificates take longer than those of one.
    let setup = Setup { prove_within: "30m", log_level: "warn", ..Setup::default() };
    let mut certward = Certward::start_with(setup);
    let authority = Authority::new("Bench CA");
    let mut made = 0;
    println!("## Growth\n");
    println!(
        "| deployments | start to ready (ms) | start to first handshake (ms) | resident at ready (MiB) | resident when all are proven again (MiB) |"
    );
    println!("|---|---|---|---|---|");
    for &count in counts {
        make(&certward, &authority, made..count);
        made = count;
        wait_all_running(&certward, count);
        certward.stop();
        let begin = Instant::now();
        certward.serve();
        let ready = begin.elapsed();
        let at_ready = resident_mib(&mut certward);
        let device = Device::trusting(&authority);
        device.handshake(certward.mqtts(), &host(count - 1)).expect("a handshake");
        let handshake = begin.elapsed();
        let proven = settled_mib(&mut certward);
        println!(
            "| {count} | {:.0} | {:.0} | {at_ready:.0} | {proven:.0} |",
            ready.as_secs_f64() * 1000.0,
            handshake.as_secs_f64() * 1000.0
        );
    }
    println!();
}

fn host(number: usize) -> String {
    format!("d{number}.example.com")
}

fn make(certward: &Certward, authority: &Authority, numbers: std::ops::Range<usize>) {
    std::thread::scope(|scope| {
        for maker in 0..MAKERS {
            let (api, numbers) = (certward.api(), numbers.clone());
            scope.spawn(move || {
                for number in numbers.filter(|number| number % MAKERS == maker) {
                    let id = format!("d{number}");
                    api.create_deployment(&id, "127.0.0.1:1883", &[&host(number)]);
                    api.post_tls(&id, &authority.server(&[&host(number)]).one_way()).expect(200);
                }
            });
        }
    });
}

fn wait_all_running(certward: &Certward, count: usize) {
    for number in 0..count {
        wait_within(Duration::from_secs(1800), "running", || {
            let path = format!("/deployments/d{number}/tls");
            let answer = certward.api().try_send("GET", &path, "Prefer: wait=30\r\n", "").expect("an answer");
            (answer.tls_status() == "running").then_some(())
        });
    }
}

fn resident_mib(certward: &mut Certward) -> f64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", certward.process().id())).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kib.and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// The memory once it has not grown by a hundredth within five seconds: the proofs in the background are over.
fn settled_mib(certward: &mut Certward) -> f64 {
    let mut last = resident_mib(certward);
    loop {
        std::thread::sleep(Duration::from_secs(5));
        let now = resident_mib(certward);
        if now <= last * 1.01 {
            return now;
        }
        last = now;
    }
}

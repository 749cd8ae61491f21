//! The attacks of the tests with more connections, and a device's delay.

use std::{fmt::Write as _, net::Ipv4Addr, thread, time::Duration};

use certward_tests::{ATTACKS, Attack, Battlefield, Noticed, Scene, Setup, Victim};
use clap::Args;

use crate::render::worst_day;

#[derive(Debug, Args)]
pub(crate) struct Attacks {
    /// Connections that an attacker keeps
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// How long the victim is watched in quiet, and under each attack
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only attacks whose name holds this, to try things out: nothing is written
    #[arg(long)]
    only: Option<String>,
}

/// Bound on the victim's delay, as a multiple of that without an attack.
const TIMES_MAX: f64 = 10.0;
/// Kept by allocators after an attack.
const GROWTH_KIB: u64 = 64 * 1024;

impl Attacks {
    pub(crate) fn measures_all(&self) -> bool {
        self.only.is_none()
    }
}

pub(crate) fn measure(attacks: &Attacks) {
    let span = Duration::from_secs(attacks.seconds);
    let setup = || Setup { log_level: "warn", ..Setup::default() };
    let mut field = Battlefield::new(setup());
    // Measures the machine's load.
    let elsewhere = Scene::with(setup());
    elsewhere.run_one_way();
    let mut text = format!(
        "{}\n\n{} connections at a time from one address, {} s of each attack; the victim is at another address and does one new handshake, \
         CONNECT, CONNACK and ping after the other. Times are milliseconds up to the ping's answer. Elsewhere: a victim that does the \
         same at a second certward on this machine, which is not attacked; what it waits for is a free core.\n\n\
         | attack | its connections | victim's connections | failed | 99 % quiet | 99 % attacked | ratio | 99 % elsewhere | descriptors before, after | MiB before, after |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        worst_day::circumstances(),
        attacks.connections,
        attacks.seconds
    );
    let wanted = |name: &str| attacks.only.as_ref().is_none_or(|part| name.contains(part));
    for (attack, last) in ATTACKS.into_iter().zip(1..).filter(|(attack, _)| wanted(attack.name)) {
        field.scene.certward.process().wait_resting();
        let before = field.scene.certward.process().resources();
        let [quiet, _] = watch(&field, &attack, &elsewhere, || thread::sleep(span));
        // Each address has 28,000 ports.
        let attacker = field.attacker(Ipv4Addr::new(127, 0, 3, last), attacks.connections, span);
        let mut tally = None;
        let [attacked, beside] =
            watch(&field, &attack, &elsewhere, || tally = Some(attack.carry_out(&attacker)));
        let (after, _) = field.scene.certward.process().wait_recovered(&before, GROWTH_KIB);
        let [calm, harried, beside] =
            [&quiet, &attacked, &beside].map(|noticed| noticed.within(0.99).as_secs_f64() * 1000.0);
        let ratio = harried / calm.max(f64::MIN_POSITIVE);
        let mark = if ratio > TIMES_MAX { "**" } else { "" };
        writeln!(
            text,
            "| {} | {} | {} | {} | {calm:.1} | {harried:.1} | {mark}{ratio:.1}{mark} | {beside:.1} | {}, {} | {:.1}, {:.1} |",
            attack.name,
            tally.map_or(0, |tally| tally.opened),
            attacked.times.len() + attacked.failures.len(),
            attacked.failures.len() + quiet.failures.len(),
            before.descriptors,
            after.descriptors,
            before.resident_mib(),
            after.resident_mib()
        )
        .expect("memory");
        eprintln!("{}: {ratio:.1}", attack.name);
    }
    match attacks.only {
        Some(_) => println!("{text}"),
        None => worst_day::write("attacks", &text),
    }
}

fn watch(field: &Battlefield, attack: &Attack, elsewhere: &Scene, meanwhile: impl FnOnce()) -> [Noticed; 2] {
    let victims =
        [field.victim_of(attack), Victim::start(elsewhere.device(), elsewhere.certward.mqtts(), Scene::HOST)];
    meanwhile();
    victims.map(Victim::stop)
}

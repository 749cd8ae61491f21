//! The attacks of the tests with more connections, and a device's delay.

use std::{net::Ipv4Addr, thread, time::Duration};

use certward_tests::{ATTACKS, Attack, Battlefield, Noticed, Scene, Setup, Victim};
use clap::Args;

use crate::{
    judge::ATTACK_RATIO_MAX,
    results::{Report, Table, Value},
};

#[derive(Debug, Args)]
pub(crate) struct AttacksOptions {
    /// Connections that an attacker keeps
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// How long the victim is watched in quiet, and under each attack
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only attacks whose name holds this, to try things out: not rendered into a document
    #[arg(long)]
    only: Option<String>,
}

/// Kept by allocators after an attack.
pub(super) const GROWTH_KIB: u64 = 64 * 1024;

pub(crate) fn measure(options: &AttacksOptions) -> Report {
    let mut report = Report::new("attacks");
    report.whole = options.only.is_none();
    report.text(format!(
        "{} connections at a time from one address, {} s of each attack. The victim at another address makes one new \
         handshake, CONNECT, CONNACK and ping after the other. Times are milliseconds until the ping's answer. \
         Elsewhere: the same victim at a second certward on this machine that is not attacked; it waits only for a \
         free core.",
        options.connections, options.seconds
    ));
    let setup = || Setup { log_level: "warn", ..Setup::default() };
    let (mut field, elsewhere) = (Battlefield::new(setup()), Scene::with(setup()));
    elsewhere.run_one_way();
    let mut table = Table::default();
    let wanted = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part));
    for (attack, last) in ATTACKS.into_iter().zip(1..).filter(|(attack, _)| wanted(attack.name)) {
        eprintln!("{}", attack.name);
        // Each attacker's address has 28,000 ports.
        let from = Ipv4Addr::new(127, 0, 3, last);
        table.row(row(&attack, from, options, &mut field, &elsewhere));
    }
    report.table(table);
    report
}

fn row(
    attack: &Attack,
    from: Ipv4Addr,
    options: &AttacksOptions,
    field: &mut Battlefield,
    elsewhere: &Scene,
) -> [(&'static str, Value); 10] {
    let span = Duration::from_secs(options.seconds);
    field.scene.certward.process().wait_resting();
    let before = field.scene.certward.process().resources();
    let [quiet, _] = watch(field, attack, elsewhere, || thread::sleep(span));
    let attacker = field.attacker(from, options.connections, span);
    let mut opened = 0;
    let [attacked, beside] = watch(field, attack, elsewhere, || opened = attack.carry_out(&attacker).opened);
    let (after, _) = field.scene.certward.process().wait_recovered(&before, GROWTH_KIB);
    let ms = |noticed: &Noticed| noticed.within(0.99).as_secs_f64() * 1e3;
    [
        ("attack", attack.name.into()),
        ("its connections", opened.into()),
        ("victim's connections", (attacked.times.len() + attacked.failures.len()).into()),
        ("failed", (attacked.failures.len() + quiet.failures.len()).into()),
        ("99 % quiet", ms(&quiet).into()),
        ("99 % attacked", ms(&attacked).into()),
        (
            "ratio",
            Value::Limited {
                value: ms(&attacked) / ms(&quiet).max(f64::MIN_POSITIVE),
                limit: ATTACK_RATIO_MAX,
            },
        ),
        ("99 % elsewhere", ms(&beside).into()),
        ("descriptors before, after", format!("{}, {}", before.descriptors, after.descriptors).into()),
        ("MiB before, after", format!("{:.1}, {:.1}", before.resident_mib(), after.resident_mib()).into()),
    ]
}

fn watch(field: &Battlefield, attack: &Attack, elsewhere: &Scene, during: impl FnOnce()) -> [Noticed; 2] {
    let victims =
        [field.victim_of(attack), Victim::start(elsewhere.device(), elsewhere.certward.mqtts(), Scene::HOST)];
    during();
    victims.map(Victim::stop)
}

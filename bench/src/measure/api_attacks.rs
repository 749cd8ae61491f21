//! The delay of the API under attacks on it.

use std::time::Duration;

use certward_tests::{API_ATTACKS, ApiAttacker, ApiVictims, Noticed, Scene, Setup};
use clap::Args;

use super::attacks::GROWTH_KIB;
use crate::results::{Report, Table, Value};

const ADDRESSES: [u8; 2] = [1, 50];

#[derive(Debug, Args)]
pub(crate) struct ApiAttacksOptions {
    /// Connections that an attacker of the API keeps
    #[arg(long, default_value_t = 3000)]
    connections: usize,
    /// How long the API's clients are watched under each attack
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// For every probe and 99 % of other requests.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

pub(crate) fn measure(options: &ApiAttacksOptions) -> Report {
    let mut report = Report::new("api-attacks");
    let &ApiAttacksOptions { connections, seconds } = options;
    let mut scene = Scene::with(Setup { log_level: "warn", ..Setup::default() });
    scene.run_one_way();
    let mut table = Table::default();
    for attack in API_ATTACKS {
        for addresses in ADDRESSES {
            eprintln!("{}, {addresses} addresses", attack.name);
            scene.certward.process().wait_resting();
            let before = scene.certward.process().resources();
            let attacker = ApiAttacker::of(&scene, addresses, connections, Duration::from_secs(seconds));
            let victims = ApiVictims::start(&scene);
            let opened = attack.carry_out(&attacker).opened;
            let noticed = victims.stop();
            let (after, _) = scene.certward.process().wait_recovered(&before, GROWTH_KIB);
            for (client, noticed) in noticed {
                table.row([
                    ("attack", attack.name.into()),
                    ("from addresses", usize::from(addresses).into()),
                    ("its connections", opened.into()),
                    ("client", client.into()),
                    ("answered", noticed.times.len().into()),
                    ("failed", noticed.failures.len().into()),
                    ("99 %", milliseconds(noticed.within(0.99))),
                    ("longest", milliseconds(noticed.within(1.0))),
                    ("within a second", format!("{:.2} %", percent_in_time(&noticed)).into()),
                    (
                        "MiB before, after",
                        format!("{:.1}, {:.1}", before.resident_mib(), after.resident_mib()).into(),
                    ),
                ]);
            }
        }
    }
    report.text(format!(
        "{connections} connections at a time, {seconds} s of each attack; a closed one is opened again, at most a \
         thousand a second. Clients at other addresses make a new connection for each request, one after the other. \
         Times are milliseconds."
    ));
    report.table(table);
    report
}

fn percent_in_time(noticed: &Noticed) -> f64 {
    let all = noticed.times.len() + noticed.failures.len();
    let in_time = noticed.times.iter().filter(|time| **time <= ANSWERED_WITHIN).count();
    100.0 * in_time as f64 / all.max(1) as f64
}

fn milliseconds(time: Duration) -> Value {
    (time.as_secs_f64() * 1e3).into()
}

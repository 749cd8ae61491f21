//! Start, memory, handshakes and replacements by number of deployments.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use certward_tests::Authority;

use crate::{
    judge::figures::{Series, digits},
    load::broker::EchoBroker,
    load::client::Endpoint,
    load::generator::Generator,
    load::swap,
    load::workload::Workload,
    measure::fleet::{CertwardFleet, Member, first_handshake, rest_of},
    process::machine,
    process::meter::Meter,
    render::document,
    render::performance::line,
};

/// A few minutes.
pub(crate) const COUNTS: &[usize] = &[1, 1_000, 10_000];
pub(crate) const COUNTS_TO_100K: &[usize] = &[1, 1_000, 10_000, 100_000];

const ROUNDS: usize = 3;
const SWAPS: usize = 10;
const HANDSHAKES: usize = 1_000;
/// After a start all certificates are proven again, two at a time.
const PROVEN_WITHIN: Duration = Duration::from_secs(15 * 60);
/// For the cost of an uncached configuration.
const COLD: std::ops::Range<usize> = 10_000..10_500;

const HEAD: &str = "| deployments | start to first handshake, s | own memory then, MiB | all proven again after, s | own memory then, MiB | full handshake, \
     CPU µs | the same, configuration not at hand | a PUT to its answer, ms | the old certificate is met until … ms after it |\n\
     |---|---|---|---|---|---|---|---|---|\n";

pub(crate) fn measure(counts: &[usize]) -> Result<()> {
    let (broker, generator, authority) =
        (EchoBroker::start(0)?, Generator::new(None)?, Authority::new("Bench CA"));
    let mut fleet = CertwardFleet::new(broker.address())?;
    let mut text = format!("{}\n\n{HEAD}", machine::facts());
    let mut made = 0;
    for &count in counts {
        let began = Instant::now();
        fleet.add((made..count).map(|number| Member::new(&authority, number)))?;
        eprintln!("{} deployments made in {:.1?}", count - made, began.elapsed());
        made = count;
        let row = Row::measure(&fleet, &generator, &authority, count)?;
        eprintln!("{row:?}");
        line(&mut text, &row.cells());
    }
    text.push_str(
        "\nMedians, with the largest in brackets. A start is of a process whose files are in the system's cache. 20,000 configurations are \
         kept at hand: up to there every name's is, once it has been proven.\n",
    );
    println!("{text}");
    document::write_section("growth", &text)
}

#[derive(Debug)]
struct Row {
    count: usize,
    start: Series,
    mib_at_start: f64,
    proven_seconds: Option<f64>,
    mib_at_rest: f64,
    warm: Series,
    cold: Option<f64>,
    answered: Series,
    old_until: Series,
}

impl Row {
    fn measure(
        fleet: &CertwardFleet,
        generator: &Generator,
        authority: &Authority,
        count: usize,
    ) -> Result<Self> {
        let (address, last) = (fleet.address(), count - 1);
        let mut start = Series::default();
        for _ in 1..ROUNDS {
            start.push(started(fleet, generator, last)?.1);
        }
        let (program, took) = started(fleet, generator, last)?;
        start.push(took);
        let began = Instant::now();
        let meter = Meter::of(program.id());
        let mib_at_start = meter.memory_kib()? / 1024.0;
        let proven = rest_of(&meter, PROVEN_WITHIN)?;
        let proven_seconds = proven.then(|| began.elapsed().as_secs_f64());
        let mib_at_rest = meter.memory_kib()? / 1024.0;
        let mut warm = Series::default();
        for _ in 0..ROUNDS {
            warm.push(generator.measure(Workload::Full, &endpoint(address, last), &meter, HANDSHAKES)?.value);
        }
        // Proven first, evicted first.
        let cold = (count >= 10 * COLD.start).then(|| {
            let endpoints: Vec<Endpoint> = COLD.map(|number| endpoint(address, number)).collect();
            generator.measure_each(&endpoints, &meter)
        });
        let (mut answered, mut old_until) = (Series::default(), Series::default());
        for turn in 0..SWAPS {
            let member = Member::new(authority, turn * 97 % count);
            let swap =
                swap::watch(generator, &endpoint(address, turn * 97 % count), &member.leaf.der, || {
                    fleet.replace(&member)
                })?;
            answered.push(swap.answered.as_secs_f64() * 1e3);
            old_until.push(swap.old_until.as_secs_f64() * 1e3);
        }
        let cold = cold.transpose()?.map(|measured| measured.value);
        Ok(Self { count, start, mib_at_start, proven_seconds, mib_at_rest, warm, cold, answered, old_until })
    }

    fn cells(&self) -> [String; 9] {
        let spread = |series: &Series| {
            let values = series.median().zip(series.max());
            values.map_or("–".to_owned(), |(median, most)| format!("{} ({})", digits(median), digits(most)))
        };
        let late = format!("not within {} s", PROVEN_WITHIN.as_secs());
        [
            self.count.to_string(),
            spread(&self.start),
            digits(self.mib_at_start),
            self.proven_seconds.map_or(late, |seconds| format!("{seconds:.0}")),
            digits(self.mib_at_rest),
            spread(&self.warm),
            self.cold.map_or("–".to_owned(), digits),
            spread(&self.answered),
            spread(&self.old_until),
        ]
    }
}

fn endpoint(address: SocketAddr, number: usize) -> Endpoint {
    Endpoint { address, sni: Member::host(number), leaf: None, tls: true }
}

/// Seconds until the newest deployment accepts a handshake.
fn started(
    fleet: &CertwardFleet,
    generator: &Generator,
    last: usize,
) -> Result<(crate::process::program::Program, f64)> {
    let began = Instant::now();
    let program = fleet.start()?;
    first_handshake(generator, &endpoint(fleet.address(), last))?;
    Ok((program, began.elapsed().as_secs_f64()))
}

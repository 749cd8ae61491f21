//! Start, memory, handshakes and replacements by number of deployments.

use std::{ops::Range, time::Instant};

use anyhow::Result;
use certward_tests::Authority;

use super::fleet::{Fleet, Rounds};
use crate::{
    load::{EchoBroker, Endpoint, Generator, Swap},
    peers::{CertwardFleet, FleetServer, Member},
    results::{Report, Table, Value},
};

/// A few minutes.
pub(crate) const COUNTS: &[usize] = &[1, 1_000, 10_000];
pub(crate) const COUNTS_TO_100K: &[usize] = &[1, 1_000, 10_000, 100_000];

/// For the cost of an uncached configuration.
const COLD: Range<usize> = 10_000..10_500;

pub(crate) fn measure(counts: &[usize]) -> Result<Report> {
    let mut report = Report::new("growth");
    report.whole = counts == COUNTS_TO_100K;
    let (broker, generator, authority) =
        (EchoBroker::start(0)?, Generator::new(None)?, Authority::new("Bench CA"));
    let mut fleet = CertwardFleet::new(broker.address());
    let mut table = Table::default();
    let mut made = 0;
    for &count in counts {
        let began = Instant::now();
        fleet.add(&mut (made..count).map(|number| Member::new(&authority, number)))?;
        eprintln!("{} deployments made in {:.1?}", count - made, began.elapsed());
        made = count;
        table.row(row(&fleet, &generator, &authority, count)?);
    }
    report.table(table);
    report.text(
        "Medians, with the largest in brackets. A process starts with its files in the system's cache. Up to \
         20,000 configurations are cached, from each deployment's proof on.",
    );
    Ok(report)
}

fn row(
    fleet: &CertwardFleet,
    generator: &Generator,
    authority: &Authority,
    count: usize,
) -> Result<[(&'static str, Value); 9]> {
    let rounds = Rounds { starts: 3, handshakes: 3, swaps: 10 };
    let of = Fleet::measure(fleet, generator, authority, count, rounds)?;
    // Proven first, evicted first.
    let cold = (count >= 10 * COLD.start).then(|| {
        let endpoints: Vec<Endpoint> = COLD.map(|number| fleet.endpoint(number)).collect();
        generator.measure_each(&endpoints, &of.meter)
    });
    let cold_us = cold.transpose()?.map(|measured| measured.value);
    let [answered, old_until] = Swap::times(&of.swaps).map(Value::Median);
    Ok([
        ("deployments", count.into()),
        ("start to first handshake, s", Value::Median(of.start_seconds)),
        ("memory at start, MiB", (of.kib_at_start / 1024.0).into()),
        ("all proven again after, s", of.idle_seconds.into()),
        ("memory at rest, MiB", (of.kib_at_rest / 1024.0).into()),
        ("full handshake, CPU µs", Value::Median(of.full_us)),
        ("the same, configuration not cached", cold_us.into()),
        ("PUT to its answer, ms", answered),
        ("old certificate served after it, ms", old_until),
    ])
}

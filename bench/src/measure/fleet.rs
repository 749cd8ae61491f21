//! Many certificates in one server: memory, start, replacement; ten thousand of them beside peers.

use std::{
    ops::Range,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use certward_tests::Authority;

use crate::{
    judge::{FLEET_TARGETS, Series},
    load::{Client, Endpoint, Generator, Handshake, Swap, Workload},
    peers::{FleetServer, Member, Peer, Testbed, fleet_server},
    process::{Meter, Program},
    results::{Table, Value},
};

const COUNT: usize = 10_000;
const HANDSHAKES: usize = 1_000;
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// certward proves all certificates again after a start, two at a time.
const IDLE_WITHIN: Duration = Duration::from_secs(15 * 60);
/// A slow server is measured by then.
const SWAPS_WITHIN: Duration = Duration::from_secs(25);

/// One server with its certificates, from its start to its replacements.
pub(super) struct Fleet {
    /// Ends with this value.
    _program: Program,
    pub(super) meter: Meter,
    /// To the first handshake.
    pub(super) start_seconds: Series,
    pub(super) kib_at_start: f64,
    /// `None`: not idle in time.
    pub(super) idle_seconds: Option<f64>,
    pub(super) kib_at_rest: f64,
    /// CPU time of a full handshake with CONNECT.
    pub(super) full_us: Series,
    pub(super) swaps: Vec<Swap>,
}

/// How often each of them is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) starts: usize,
    pub(super) handshakes: usize,
    pub(super) swaps: usize,
}

impl Fleet {
    pub(super) fn measure(
        server: &dyn FleetServer,
        generator: &Generator,
        authority: &Authority,
        count: usize,
        rounds: Rounds,
    ) -> Result<Self> {
        let newest = server.endpoint(count - 1);
        let mut start_seconds = Series::default();
        for _ in 1..rounds.starts {
            start_seconds.push(start(server, generator, &newest)?.1);
        }
        let (program, took) = start(server, generator, &newest)?;
        start_seconds.push(took);
        let (began, meter) = (Instant::now(), Meter::of(program.id()));
        let kib_at_start = meter.memory_kib()?;
        let idle_seconds = is_idle_in_time(&meter)?.then(|| began.elapsed().as_secs_f64());
        let kib_at_rest = meter.settled_memory_kib()?;
        let full = |_| Ok(generator.measure(Workload::Full, &newest, &meter, HANDSHAKES)?.value);
        let full_us = (0..rounds.handshakes).map(full).collect::<Result<_>>()?;
        let swaps = swaps(server, &program, generator, authority, count, rounds.swaps)?;
        Ok(Self {
            _program: program,
            meter,
            start_seconds,
            kib_at_start,
            idle_seconds,
            kib_at_rest,
            full_us,
            swaps,
        })
    }
}

/// Beside peers, with the targets of certward; `None` for a peer that does not choose among
/// certificates.
pub(super) fn row(
    peer: Peer,
    testbed: &Testbed,
    generator: &Generator,
    quick: bool,
    targets: &mut Table,
) -> Result<Option<[(&'static str, Value); 8]>> {
    let Some(mut server) = fleet_server(peer, testbed)? else { return Ok(None) };
    eprintln!("{} with {COUNT} certificates", peer.title());
    let authority = &testbed.credentials.server_ca;
    let mut measure = |range: Range<usize>, rounds| {
        let count = range.end;
        server.add(&mut range.map(|number| Member::new(authority, number)))?;
        Fleet::measure(server.as_ref(), generator, authority, count, rounds)
    };
    let one = measure(0..1, Rounds { starts: 1, handshakes: 0, swaps: 0 })?.kib_at_rest;
    let (starts, swaps) = if quick { (1, 5) } else { (3, 20) };
    let all = measure(1..COUNT, Rounds { starts, handshakes: 2, swaps })?;
    let kib = (all.kib_at_rest - one) / (COUNT - 1) as f64;
    if peer == Peer::Certward {
        add_targets(targets, kib, &all);
    }
    let sum = |of: fn(&Swap) -> usize| all.swaps.iter().map(of).sum::<usize>();
    let [answered, old_until] = Swap::times(&all.swaps).map(Value::Median);
    Ok(Some([
        ("server", peer.title().into()),
        ("KiB per certificate", kib.into()),
        ("full handshake and CONNECT, CPU µs", all.full_us.median().into()),
        ("start to first handshake, s", Value::Median(all.start_seconds)),
        ("replacement to its answer, ms", answered),
        ("old certificate served after the answer, ms (max)", old_until),
        (
            "handshakes with the old certificate after the answer",
            format!("{} of {}", sum(|swap| swap.stale), sum(|swap| swap.handshakes)).into(),
        ),
        ("failed handshakes", sum(|swap| swap.failed).into()),
    ]))
}

fn add_targets(targets: &mut Table, kib: f64, of: &Fleet) {
    let [_, old_until] = Swap::times(&of.swaps);
    let values = [
        ("KiB per certificate", Some(kib)),
        ("seconds to start", of.start_seconds.median()),
        ("ms of the old certificate after the answer", old_until.median()),
    ];
    for ((name, value), (required, desired)) in values.into_iter().zip(FLEET_TARGETS) {
        let value = value.map_or(Value::Missing, |value| Value::Limited { value, limit: required });
        targets.row([
            ("certward", name.into()),
            ("measured", value),
            ("required, at most", required.into()),
            ("desired, at most", desired.into()),
        ]);
    }
}

/// With the seconds until a client has a handshake.
pub(super) fn start(
    server: &dyn FleetServer,
    generator: &Generator,
    endpoint: &Endpoint,
) -> Result<(Program, f64)> {
    let client = Client::new(endpoint, Handshake::Full, None)?;
    let began = Instant::now();
    let program = server.start()?;
    loop {
        let shaken = generator.run(async {
            client.handshake().await?.close().await;
            Ok(())
        });
        match shaken {
            Ok(()) => return Ok((program, began.elapsed().as_secs_f64())),
            Err(error) if began.elapsed() > STARTS_WITHIN => {
                return Err(error).with_context(|| format!("it does not start: {}", program.output()));
            }
            Err(_) => sleep(Duration::from_millis(1)),
        }
    }
}

/// Replaces certificates of members that are far apart, one after the other.
pub(super) fn swaps(
    server: &dyn FleetServer,
    program: &Program,
    generator: &Generator,
    authority: &Authority,
    count: usize,
    turns: usize,
) -> Result<Vec<Swap>> {
    let began = Instant::now();
    let in_time = (0..turns).take_while(|_| began.elapsed() <= SWAPS_WITHIN);
    let swap = |turn| {
        let number = turn * 97 % count;
        let member = Member::new(authority, number);
        let change = || server.replace(program, &member);
        Swap::watch(generator, &server.endpoint(number), &member.leaf.der, change)
    };
    in_time.map(swap).collect()
}

fn is_idle_in_time(meter: &Meter) -> Result<bool> {
    const SPAN: Duration = Duration::from_secs(2);
    let (began, mut last) = (Instant::now(), meter.cpu()?);
    while began.elapsed() < IDLE_WITHIN {
        sleep(SPAN);
        let now = meter.cpu()?;
        if now - last < SPAN / 50 {
            return Ok(true);
        }
        last = now;
    }
    Ok(false)
}

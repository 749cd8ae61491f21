//! Every workload on every server, interleaved: the machine's noise meets all.

use anyhow::Result;
use clap::Args;

use super::{fleet, floor::Floor};
use crate::{
    judge::Figures,
    load::{Generator, Workload},
    peers::{Peer, Server, Testbed, version},
    results::{Comparison, Part, Report, Table},
};

/// certward beside its peers.
#[derive(Debug, Default, Args)]
pub(crate) struct ComparisonOptions {
    /// Fewer rounds: about five minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each test is run on each server; 15 if it is not given, 5 with --quick
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// Only these servers; such a part is not rendered into docs/lab/performance.md, as with the
    /// next two
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) servers: Vec<Peer>,
    /// Only these tests
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) tests: Vec<Workload>,
    /// Without the tests with ten thousand certificates
    #[arg(long)]
    pub(crate) no_fleet: bool,
}

impl ComparisonOptions {
    fn is_partial(&self) -> bool {
        let fewer_rounds = self.quick || self.rounds.is_some_and(|rounds| rounds < ROUNDS);
        fewer_rounds || self.no_fleet || !self.servers.is_empty() || !self.tests.is_empty()
    }
}

const ROUNDS: usize = 15;
const QUICK_ROUNDS: usize = 5;
/// Memory varies little, and a round is long.
const IDLE_ROUNDS_MAX: usize = 2;

pub(crate) fn measure(options: &ComparisonOptions) -> Result<Report> {
    let mut report = Report::new("peers");
    let rounds = options.rounds.unwrap_or(if options.quick { QUICK_ROUNDS } else { ROUNDS }).max(1);
    let testbed = Testbed::new()?;
    let mut run = Run {
        options,
        testbed: &testbed,
        generator: Generator::of(&testbed.credentials)?,
        figures: Figures::default(),
        failures: Vec::new(),
    };
    run.busy(rounds);
    run.idle(rounds.min(IDLE_ROUNDS_MAX));
    let fleets = (!options.no_fleet).then(|| run.fleets());
    let Run { figures, failures, .. } = run;
    let floor = Floor::measure(&testbed.credentials, if options.quick { 500 } else { 2_000 })?;
    report.whole = !options.is_partial();
    report.text(format!("{rounds} rounds."));
    if options.quick {
        report.text("A quick run (`--quick`), only to show the form.");
    }
    report.parts.push(Part::Comparison(Comparison { figures, floor: floor.handshakes }));
    report.text(format!(
        "The floor of a handshake is the server's side of rustls in memory with AES-128-GCM and one ticket, without a \
         socket or a relay; one P-256 signature takes {:.1} µs of it, one RSA-2048 signature {:.0} µs. The floor of \
         relayed bytes and idle connections is a relay of plain TCP without buffers (no TLS).",
        floor.p256_signature, floor.rsa_signature
    ));
    if let Some(fleets) = fleets {
        report.heading("Ten thousand certificates");
        fleets.into_iter().for_each(|table| report.table(table));
    }
    let versions = Peer::all().filter(|peer| !peer.is_tuned() && *peer != Peer::Plain).map(version);
    report.text(format!("Versions, as Debian packages them: {}.", versions.collect::<Vec<_>>().join("; ")));
    failures.iter().for_each(|failure| report.text(format!("Not measured: {failure}")));
    Ok(report)
}

struct Run<'a> {
    options: &'a ComparisonOptions,
    testbed: &'a Testbed,
    generator: Generator,
    figures: Figures,
    /// A server without a feature must not end the run.
    failures: Vec<String>,
}

impl Run<'_> {
    fn peers(&self) -> Vec<Peer> {
        let asked = &self.options.servers;
        Peer::all().filter(|peer| asked.is_empty() || asked.contains(peer)).collect()
    }

    fn workloads(&self, idle: bool) -> Vec<Workload> {
        let asked = &self.options.tests;
        let asked = Workload::all().filter(|workload| asked.is_empty() || asked.contains(workload));
        asked.filter(|workload| workload.is_idle() == idle).collect()
    }

    fn start(&mut self, peer: Peer) -> Option<Server> {
        Server::start(peer, self.testbed).map_err(|error| self.note(peer, "start", &error)).ok()
    }

    fn note(&mut self, peer: Peer, what: &str, error: &anyhow::Error) {
        let text = format!("{}, {what}: {error:#}", peer.title());
        eprintln!("{text}");
        let line = text.lines().next().unwrap_or_default().to_owned();
        if !self.failures.contains(&line) {
            self.failures.push(line);
        }
    }

    /// Servers alternate within each round of each workload.
    fn busy(&mut self, rounds: usize) {
        let servers: Vec<Server> = self.peers().into_iter().filter_map(|peer| self.start(peer)).collect();
        let workloads = self.workloads(false);
        for round in 0..rounds {
            for &workload in &workloads {
                // The order rotates.
                for place in 0..servers.len() {
                    self.run(&servers[(place + round) % servers.len()], workload, round);
                }
            }
        }
    }

    /// Each in a new process, without freed memory to reuse.
    fn idle(&mut self, rounds: usize) {
        let workloads = self.workloads(true);
        for round in 0..rounds {
            for peer in self.peers() {
                for &workload in &workloads {
                    if let Some(server) = self.start(peer) {
                        self.run(&server, workload, round);
                    }
                }
            }
        }
    }

    fn fleets(&mut self) -> [Table; 2] {
        let (mut table, mut targets) = (Table::default(), Table::default());
        for peer in self.peers() {
            match fleet::row(peer, self.testbed, &self.generator, self.options.quick, &mut targets) {
                Ok(row) => row.into_iter().for_each(|row| table.row(row)),
                Err(error) => self.note(peer, "many certificates", &error),
            }
        }
        [table, targets]
    }

    fn run(&mut self, server: &Server, workload: Workload, round: usize) {
        let peer = server.peer;
        if !peer.supports(workload) {
            return;
        }
        let (endpoint, count) = (server.endpoint(workload, self.testbed), workload.count(self.options.quick));
        match self.generator.measure(workload, &endpoint, server.meter(), count) {
            Ok(measured) => {
                let (value, unit) = (measured.value, workload.unit());
                eprintln!("{value:>10.2} {unit:<9} {:<14} {}", peer.title(), workload.title());
                self.figures.push(workload, peer, round, value);
            }
            Err(error) => {
                self.note(peer, workload.title(), &error);
                eprintln!("{}", last_lines(&server.log()));
            }
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

//! Every test on every server, interleaved: the machine's noise meets all.

use anyhow::Result;
use clap::Args;
use tempfile::TempDir;

use crate::{
    judge::figures::Figures,
    load::broker::EchoBroker,
    load::credentials::Credentials,
    load::generator::Generator,
    load::workload::Workload,
    measure::{fleet, floor},
    peers::{Peer, Server, Stage},
    process::machine,
    render::performance::{Floor, Report},
    render::{document, plot},
};

/// certward beside its peers.
#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// Fewer rounds: about five minutes
    #[arg(long)]
    quick: bool,
    /// How often each test is run on each server; 15 if it is not given, 5 with --quick
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these servers; docs/lab/performance.md is then left as it is, as with the next
    /// two
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Peer>,
    /// Only these tests
    #[arg(long, value_enum, value_delimiter = ',')]
    tests: Vec<Workload>,
    /// Without the tests with ten thousand certificates
    #[arg(long)]
    no_fleet: bool,
    /// Prints the tables and leaves docs/lab/performance.md as it is
    #[arg(long)]
    print_only: bool,
}

impl Peers {
    fn is_partial(&self) -> bool {
        self.no_fleet || !self.servers.is_empty() || !self.tests.is_empty()
    }

    pub(crate) fn all(quick: bool) -> Self {
        Self {
            quick,
            rounds: None,
            servers: Vec::new(),
            tests: Vec::new(),
            no_fleet: false,
            print_only: false,
        }
    }
}

/// Memory varies little, and a round is long.
const IDLE_ROUNDS_MAX: usize = 2;

pub(crate) fn measure(peers: &Peers) -> Result<()> {
    let rounds = peers.rounds.unwrap_or(if peers.quick { 5 } else { 15 }).max(1);
    let machine = machine::facts();
    let folder = TempDir::with_prefix("certward-bench-")?;
    let (credentials, broker) = (Credentials::make(folder.path())?, EchoBroker::start(0)?);
    let stage = Stage { folder: folder.path(), credentials: &credentials, broker: broker.address() };
    let mut run = Run {
        peers,
        stage: &stage,
        generator: Generator::of(&credentials)?,
        figures: Figures::default(),
        troubles: Vec::new(),
    };
    run.cpu(rounds);
    run.idle(rounds.min(IDLE_ROUNDS_MAX));
    let fleet = if peers.no_fleet { Vec::new() } else { run.fleet() };
    let floor = Floor::measure(&credentials, if peers.quick { 500 } else { 2_000 })?;
    let Run { figures, troubles, .. } = run;
    let report = Report { quick: peers.quick, rounds, machine, figures, floor, fleet, troubles };
    let text = report.markdown();
    println!("{text}");
    if peers.is_partial() {
        eprintln!("A part of the whole: docs/lab/performance.md is left as it is.");
    } else if !peers.print_only {
        document::write_section("peers", &text)?;
        document::write_plot(&plot::svg(&report.figures))?;
    }
    Ok(())
}

struct Run<'a> {
    peers: &'a Peers,
    stage: &'a Stage<'a>,
    generator: Generator,
    figures: Figures,
    /// A server without a feature must not end the run.
    troubles: Vec<String>,
}

impl Run<'_> {
    fn kinds(&self) -> Vec<Peer> {
        let asked = &self.peers.servers;
        Peer::ALL.into_iter().filter(|kind| asked.is_empty() || asked.contains(kind)).collect()
    }

    fn tests(&self) -> impl Iterator<Item = Workload> + use<'_> {
        let asked = &self.peers.tests;
        Workload::ALL.into_iter().filter(|test| asked.is_empty() || asked.contains(test))
    }

    fn start(&mut self, kind: Peer) -> Option<Server> {
        Server::start(kind, self.stage).map_err(|error| self.trouble(kind, "start", &error)).ok()
    }

    fn trouble(&mut self, kind: Peer, what: &str, error: &anyhow::Error) {
        let text = format!("{}, {what}: {error:#}", kind.title());
        eprintln!("{text}");
        let line = text.lines().next().unwrap_or_default().to_owned();
        if !self.troubles.contains(&line) {
            self.troubles.push(line);
        }
    }

    /// Servers alternate within each round of each test.
    fn cpu(&mut self, rounds: usize) {
        let servers: Vec<Server> = self.kinds().into_iter().filter_map(|kind| self.start(kind)).collect();
        let tests: Vec<Workload> = self.tests().filter(|test| !test.is_idle()).collect();
        for round in 0..rounds {
            for &test in &tests {
                // The order rotates.
                for place in 0..servers.len() {
                    self.run(&servers[(place + round) % servers.len()], test, round);
                }
            }
        }
    }

    /// Each in a new process, without freed memory to reuse.
    fn idle(&mut self, rounds: usize) {
        let tests: Vec<Workload> = self.tests().filter(|test| test.is_idle()).collect();
        for round in 0..rounds {
            for kind in self.kinds() {
                for &test in &tests {
                    if let Some(server) = self.start(kind) {
                        self.run(&server, test, round);
                    }
                }
            }
        }
    }

    fn fleet(&mut self) -> Vec<fleet::Fleet> {
        let mut troubles = Vec::new();
        let fleets = fleet::measure(
            self.stage,
            &self.generator,
            &self.kinds(),
            self.peers.quick,
            &mut |kind, error| {
                troubles.push((kind, format!("{error:#}")));
            },
        );
        for (kind, text) in troubles {
            self.trouble(kind, "many certificates", &anyhow::anyhow!(text));
        }
        fleets
    }

    fn run(&mut self, server: &Server, test: Workload, round: usize) {
        if !server.peer.takes(test) {
            return;
        }
        let (endpoint, count) = (server.endpoint(test, self.stage.credentials), test.count(self.peers.quick));
        match self.generator.measure(test, &endpoint, server.meter(), count) {
            Ok(measured) => {
                eprintln!(
                    "{:>10.2} {:<9} {:<14} {}",
                    measured.value,
                    test.unit(),
                    server.peer.title(),
                    test.title()
                );
                self.figures.push(test, server.peer, round, measured.value);
            }
            Err(error) => {
                self.trouble(server.peer, test.title(), &error);
                eprintln!("{}", tail(&server.log()));
            }
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

impl Floor {
    fn measure(credentials: &Credentials, count: usize) -> Result<Self> {
        let mut handshakes = Vec::new();
        for test in Workload::ALL {
            if let Some(value) = floor::handshake(test, credentials, count)? {
                handshakes.push((test, value));
            }
        }
        Ok(Self {
            handshakes,
            p256_signature: floor::signature(&credentials.p256, count)?,
            rsa_signature: floor::signature(&credentials.rsa, count)?,
        })
    }
}

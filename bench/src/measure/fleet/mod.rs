//! Ten thousand certificates in one server: memory, start, replacement. For servers that choose by
//! SNI: certward, HAProxy, hitch, and nginx in its way.

mod certward;
mod haproxy;
mod hitch;
mod nginx;

use std::{
    net::SocketAddr,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use certward_tests::{Authority, Leaf};

pub(crate) use self::certward::CertwardFleet;
use crate::{
    judge::figures::{Series, digits},
    load::client::{Client, Endpoint},
    load::generator::Generator,
    load::swap::{self, Swap},
    load::workload::{Handshake, Workload},
    peers::{Peer, Stage},
    process::meter::Meter,
    process::program::Program,
};

pub(crate) const COUNT: usize = 10_000;
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// A slow server is measured by then.
const SWAPS_WITHIN: Duration = Duration::from_secs(25);

trait FleetServer: Sync {
    /// While stopped; the first call adds one.
    fn add(&mut self, members: &[Member]) -> Result<()>;
    fn start(&self) -> Result<Program>;
    fn address(&self) -> SocketAddr;
    /// As the manual says; returns with the server's answer.
    fn replace(&self, program: &Program, member: &Member) -> Result<()>;
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) host: String,
    pub(crate) leaf: Leaf,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    peer: Peer,
    /// Per certificate beyond the first, at rest.
    kib: f64,
    /// CPU µs, with CONNECT.
    handshake: f64,
    /// Seconds to the first handshake.
    start: Series,
    swaps: Vec<Swap>,
}

pub(crate) fn measure(
    stage: &Stage<'_>,
    generator: &Generator,
    peers: &[Peer],
    quick: bool,
    trouble: &mut dyn FnMut(Peer, &anyhow::Error),
) -> Vec<Fleet> {
    let authority = &stage.credentials.server_ca;
    let members: Vec<Member> = (0..COUNT).map(|number| Member::new(authority, number)).collect();
    let mut fleets = Vec::new();
    for &peer in peers {
        let Some(server) = server(peer, stage).transpose() else { continue };
        match server.and_then(|mut server| {
            Fleet::measure(peer, server.as_mut(), &members, generator, authority, quick)
        }) {
            Ok(fleet) => fleets.push(fleet),
            Err(error) => trouble(peer, &error),
        }
    }
    fleets
}

fn server(peer: Peer, stage: &Stage<'_>) -> Result<Option<Box<dyn FleetServer>>> {
    Ok(Some(match peer {
        Peer::Certward => Box::new(CertwardFleet::new(stage.broker)?),
        Peer::Haproxy => Box::new(haproxy::HaproxyFleet::new(stage)?),
        Peer::Hitch => Box::new(hitch::HitchFleet::new(stage)?),
        Peer::Nginx => Box::new(nginx::NginxFleet::new(stage)?),
        _ => return Ok(None),
    }))
}

impl Member {
    pub(crate) fn new(authority: &Authority, number: usize) -> Self {
        let host = Self::host(number);
        let leaf = authority.server(&[&host]);
        Self { host, leaf }
    }

    pub(crate) fn host(number: usize) -> String {
        format!("d{number}.example.com")
    }

    fn renewed(&self, authority: &Authority) -> Self {
        Self { host: self.host.clone(), leaf: authority.server(&[&self.host]) }
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint { address, sni: self.host.clone(), leaf: Some(self.leaf.der.clone()), tls: true }
    }

    /// Certificate and key in one file, atomically.
    fn write(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{}{}", self.leaf.chain_pem, self.leaf.key_pem))?;
        Ok(std::fs::rename(new, file)?)
    }
}

impl Fleet {
    pub(crate) const HEAD: &str = "| server | KiB per certificate | full handshake and CONNECT, CPU µs | start to first handshake, s | a PUT, command or signal to its answer, ms | \
         the old one is met until … ms after the answer (largest) | handshakes with the old one after the answer | \
         failed handshakes |\n|---|---|---|---|---|---|---|---|\n";

    fn measure(
        peer: Peer,
        server: &mut dyn FleetServer,
        members: &[Member],
        generator: &Generator,
        authority: &Authority,
        quick: bool,
    ) -> Result<Self> {
        eprintln!("{} with {} certificates", peer.title(), members.len());
        let (one, rest) = members.split_at(1);
        server.add(one)?;
        let (alone, _) = started(server, generator, &one[0])?;
        let meter = Meter::of(alone.id());
        rest_of(&meter, Duration::from_secs(30))?;
        let with_one = meter.settled_memory_kib()?;
        drop(alone);
        server.add(rest)?;
        let last = members.last().context("a fleet")?;
        let mut start = Series::default();
        for _ in 1..if quick { 1 } else { 3 } {
            start.push(started(server, generator, last)?.1.as_secs_f64());
        }
        let (program, took) = started(server, generator, last)?;
        start.push(took.as_secs_f64());
        let meter = Meter::of(program.id());
        rest_of(&meter, Duration::from_secs(180))?;
        let kib = (meter.settled_memory_kib()? - with_one) / rest.len() as f64;
        let endpoint = members[COUNT / 2].endpoint(server.address());
        let handshake =
            generator.measure(Workload::Full, &endpoint, &meter, 4 * Workload::Full.count(quick))?.value;
        let mut swaps = Vec::new();
        let began = Instant::now();
        for turn in 1..=if quick { 5 } else { 20 } {
            if began.elapsed() > SWAPS_WITHIN {
                break;
            }
            let member = &members[turn * 97];
            let renewed = member.renewed(authority);
            let change = || server.replace(&program, &renewed);
            swaps.push(swap::watch(
                generator,
                &member.endpoint(server.address()),
                &renewed.leaf.der,
                change,
            )?);
        }
        Ok(Self { peer, kib, handshake, start, swaps })
    }

    pub(crate) fn cells(&self) -> Vec<String> {
        let ms = |of: fn(&Swap) -> Duration| -> Series {
            self.swaps.iter().map(|swap| of(swap).as_secs_f64() * 1e3).collect()
        };
        let spread = |series: Series| {
            let values = series.median().zip(series.max());
            values.map_or("–".to_owned(), |(median, most)| format!("{} ({})", digits(median), digits(most)))
        };
        let sum = |of: fn(&Swap) -> usize| self.swaps.iter().map(of).sum::<usize>();
        vec![
            self.peer.title().to_owned(),
            digits(self.kib),
            digits(self.handshake),
            spread(self.start.clone()),
            spread(ms(|swap| swap.answered)),
            spread(ms(|swap| swap.old_until)),
            format!("{} of {}", sum(|swap| swap.stale), sum(|swap| swap.handshakes)),
            sum(|swap| swap.failed).to_string(),
        ]
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn kib(&self) -> f64 {
        self.kib
    }

    pub(crate) fn start_seconds(&self) -> Option<f64> {
        self.start.median()
    }

    /// How long the old certificate is served after the answer.
    pub(crate) fn old_until_ms(&self) -> Option<f64> {
        let series: Series = self.swaps.iter().map(|swap| swap.old_until.as_secs_f64() * 1e3).collect();
        series.median()
    }
}

/// The time until a client gets `member`'s certificate.
fn started(server: &dyn FleetServer, generator: &Generator, member: &Member) -> Result<(Program, Duration)> {
    let began = Instant::now();
    let program = server.start()?;
    first_handshake(generator, &member.endpoint(server.address()))
        .with_context(|| format!("it does not start: {}", program.output()))?;
    Ok((program, began.elapsed()))
}

pub(crate) fn first_handshake(generator: &Generator, endpoint: &Endpoint) -> Result<()> {
    let client = Client::new(endpoint, Handshake::Full, None)?;
    let began = Instant::now();
    loop {
        let shaken = generator.run(async {
            client.handshake().await?.close().await;
            Ok(())
        });
        match shaken {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > STARTS_WITHIN => return Err(error),
            Err(_) => sleep(Duration::from_millis(1)),
        }
    }
}

/// Whether the server is idle (certward's proofs are done) in time.
pub(crate) fn rest_of(meter: &Meter, within: Duration) -> Result<bool> {
    const SPAN: Duration = Duration::from_secs(2);
    let (began, mut last) = (Instant::now(), meter.cpu()?);
    while began.elapsed() < within {
        sleep(SPAN);
        let now = meter.cpu()?;
        if now - last < SPAN / 50 {
            return Ok(true);
        }
        last = now;
    }
    Ok(false)
}

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use certward_tests::Leaf;
use clap::Args;
use tempfile::TempDir;

use crate::{
    judge::figures::Series,
    load::broker::EchoBroker,
    load::client::Endpoint,
    load::credentials::Credentials,
    load::generator::{Generator, Measured},
    load::workload::Workload,
    peers::{Peer, Server, Stage},
    process::meter::Meter,
};

/// One server, some tests.
#[derive(Debug, Args)]
pub(crate) struct Single {
    /// The server
    #[arg(value_enum)]
    server: Peer,
    /// The tests
    #[arg(value_enum, required = true)]
    tests: Vec<Workload>,
    /// How often each
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Units of each round; the usual number if it is not given
    #[arg(long)]
    count: Option<usize>,
}

/// A load on a server that runs already.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The server's address
    #[arg(long)]
    address: SocketAddr,
    /// The name that clients ask for
    #[arg(long)]
    sni: String,
    /// What is measured
    #[arg(long, value_enum)]
    test: Workload,
    /// The server's process
    #[arg(long)]
    pid: u32,
    /// Handshakes, megabytes, messages or connections of each round; the usual number if it is not
    /// given
    #[arg(long)]
    count: Option<usize>,
    /// How often
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Runs the broker on this port of the loopback address
    #[arg(long)]
    broker: Option<u16>,
    /// The clients' certificate and key (PEM), in two files
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"])]
    identity: Vec<PathBuf>,
}

pub(crate) fn single(single: &Single) -> Result<()> {
    let folder = TempDir::with_prefix("certward-bench-")?;
    let (credentials, broker) = (Credentials::make(folder.path())?, EchoBroker::start(0)?);
    let stage = Stage { folder: folder.path(), credentials: &credentials, broker: broker.address() };
    let mut server = Server::start(single.server, &stage)?;
    println!("{}: process {:?}", single.server.title(), server.meter().processes());
    let generator = Generator::of(&credentials)?;
    for &test in &single.tests {
        let count = single.count.unwrap_or(test.count(false));
        rounds(test, single.rounds, || {
            if test.is_idle() {
                // Without freed memory to reuse.
                server = Server::start(single.server, &stage)?;
            }
            let endpoint = server.endpoint(test, &credentials);
            let measured = generator.measure(test, &endpoint, server.meter(), count);
            measured.inspect_err(|_| eprintln!("{}", server.log()))
        })?;
    }
    Ok(())
}

pub(crate) fn load(load: &Load) -> Result<()> {
    let _broker = load.broker.map(EchoBroker::start).transpose()?;
    let identity = match load.identity.as_slice() {
        [cert, key] => Some(Leaf::from_pem(&std::fs::read_to_string(cert)?, &std::fs::read_to_string(key)?)),
        _ => None,
    };
    let (generator, meter) = (Generator::new(identity)?, Meter::of(load.pid));
    let endpoint = Endpoint { address: load.address, sni: load.sni.clone(), leaf: None, tls: true };
    let count = load.count.unwrap_or(load.test.count(false));
    rounds(load.test, load.rounds, || generator.measure(load.test, &endpoint, &meter, count))
}

fn rounds(test: Workload, rounds: usize, mut measure: impl FnMut() -> Result<Measured>) -> Result<()> {
    let mut series = Series::default();
    for _ in 0..rounds {
        let Measured { value, rate } = measure()?;
        let rate = rate.map(|rate| format!(" ({rate:.0} a second)")).unwrap_or_default();
        println!("{:>10.2} {}{rate}", value, test.unit());
        series.push(value);
    }
    println!(
        "{:>10.2} {}: {}, median of {rounds}",
        series.median().unwrap_or(f64::NAN),
        test.unit(),
        test.title()
    );
    Ok(())
}

//! Some workloads on one server, which this command starts or which runs already.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use certward_tests::Leaf;
use clap::Args;

use crate::{
    judge::Series,
    load::{EchoBroker, Endpoint, Generator, Measured, Workload},
    peers::{Peer, Server, Testbed},
    process::Meter,
    results::{Report, Table, Value},
};

/// One server, some tests.
#[derive(Debug, Args)]
pub(crate) struct SingleOptions {
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
pub(crate) struct LoadOptions {
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

pub(crate) fn single(options: &SingleOptions) -> Result<Report> {
    let mut report = Report::new("single");
    let testbed = Testbed::new()?;
    let mut server = Server::start(options.server, &testbed)?;
    report.text(options.server.title());
    eprintln!("process {:?}", server.meter().processes());
    let generator = Generator::of(&testbed.credentials)?;
    let mut table = Table::default();
    for &workload in &options.tests {
        let count = options.count.unwrap_or(workload.count(false));
        table.row(row(workload, options.rounds, || {
            if workload.is_idle() {
                // Without freed memory to reuse.
                server = Server::start(options.server, &testbed)?;
            }
            let endpoint = server.endpoint(workload, &testbed);
            let measured = generator.measure(workload, &endpoint, server.meter(), count);
            measured.inspect_err(|_| eprintln!("{}", server.log()))
        })?);
    }
    report.table(table);
    Ok(report)
}

pub(crate) fn load(options: &LoadOptions) -> Result<Report> {
    let mut report = Report::new("load");
    let _broker = options.broker.map(EchoBroker::start).transpose()?;
    let identity = match options.identity.as_slice() {
        [cert, key] => Some(Leaf::from_pem(&fs::read_to_string(cert)?, &fs::read_to_string(key)?)),
        _ => None,
    };
    let (generator, meter) = (Generator::new(identity)?, Meter::of(options.pid));
    let endpoint = Endpoint { address: options.address, sni: options.sni.clone(), leaf: None, tls: true };
    let count = options.count.unwrap_or(options.test.count(false));
    let measure = || generator.measure(options.test, &endpoint, &meter, count);
    let mut table = Table::default();
    table.row(row(options.test, options.rounds, measure)?);
    report.table(table);
    Ok(report)
}

fn row(
    workload: Workload,
    rounds: usize,
    mut measure: impl FnMut() -> Result<Measured>,
) -> Result<[(&'static str, Value); 4]> {
    let (mut values, mut rates) = (Series::default(), Series::default());
    for _ in 0..rounds {
        let Measured { value, rate } = measure()?;
        eprintln!("{value:>10.2} {}", workload.unit());
        values.push(value);
        rate.into_iter().for_each(|rate| rates.push(rate));
    }
    Ok([
        ("test", workload.title().into()),
        ("unit", workload.unit().into()),
        ("median (largest)", Value::Median(values)),
        ("a second (largest)", Value::Median(rates)),
    ])
}

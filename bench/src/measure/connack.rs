//! Time to CONNACK after the handshake, with and without Nagle's algorithm (on in most MQTT
//! libraries).

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::runtime;

use crate::{
    judge::Series,
    load::{Client, Handshake, Workload},
    peers::{Peer, Server, Testbed},
    results::{Report, Table, Value},
};

/// The time to CONNACK beside peers.
#[derive(Debug, Args)]
pub(crate) struct ConnackOptions {
    /// Connections of each server and kind of handshake
    #[arg(long, default_value_t = COUNT)]
    pub(crate) count: usize,
}

const COUNT: usize = 500;

/// Mosquitto has `set_tcp_nodelay`.
const SERVERS: [Peer; 3] = [Peer::Certward, Peer::Mosquitto, Peer::Nginx];
const WORKLOADS: [Workload; 3] = [Workload::Full, Workload::Resumed, Workload::Tls12];
/// Servers alternate: the machine's noise meets all.
const ROUNDS: usize = 10;

pub(crate) fn measure(options: &ConnackOptions) -> Result<Report> {
    let mut report = Report::new("connack");
    report.whole = options.count >= COUNT;
    let testbed = Testbed::new()?;
    let servers: Vec<Server> =
        SERVERS.into_iter().map(|peer| Server::start(peer, &testbed)).collect::<Result<_>>()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::default();
    for workload in WORKLOADS {
        for nagle in [true, false] {
            let clients: Vec<Client> = servers
                .iter()
                .map(|server| client(server, workload, nagle, &testbed))
                .collect::<Result<_>>()?;
            let mut times = vec![Vec::new(); servers.len()];
            for _ in 0..ROUNDS {
                for (client, times) in clients.iter().zip(&mut times) {
                    for _ in 0..options.count.div_ceil(ROUNDS) {
                        times.push(runtime.block_on(time_to_connack(client))?);
                    }
                }
            }
            for (server, times) in servers.iter().zip(times) {
                table.row([
                    ("handshake", name(workload).into()),
                    ("Nagle", if nagle { "on" } else { "off" }.into()),
                    ("server", server.peer.title().into()),
                    ("ms", Value::Percentiles(Series::ms(times))),
                ]);
            }
        }
    }
    report.text(format!(
        "{} connections each, one after the other, from the end of the handshake to CONNACK.",
        options.count
    ));
    report.table(table);
    Ok(report)
}

fn name(workload: Workload) -> &'static str {
    match workload.handshake() {
        Handshake::Resumed => "TLS 1.3, resumed",
        Handshake::Tls12 => "TLS 1.2",
        Handshake::Full | Handshake::Hybrid => "TLS 1.3",
    }
}

fn client(server: &Server, workload: Workload, nagle: bool, testbed: &Testbed) -> Result<Client> {
    let client = Client::new(&server.endpoint(workload, testbed), workload.handshake(), None)?;
    Ok(if nagle { client.with_nagle() } else { client })
}

async fn time_to_connack(client: &Client) -> Result<Duration> {
    let mut session = client.handshake().await?;
    let begun = Instant::now();
    session.connect().await?;
    let took = begun.elapsed();
    session.end().await;
    Ok(took)
}

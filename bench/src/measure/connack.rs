//! Time to CONNACK after the handshake, with and without Nagle's algorithm (on in most MQTT
//! libraries).

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tempfile::TempDir;
use tokio::runtime;

use crate::{
    judge::spread::Spread,
    load::broker::EchoBroker,
    load::client::Client,
    load::credentials::Credentials,
    load::workload::{Handshake, Workload},
    peers::{Peer, Server, Stage},
    render::document,
};

/// The time to CONNACK beside peers.
#[derive(Debug, Args)]
pub(crate) struct Connack {
    /// Connections of each server and kind of handshake
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Prints the table and leaves docs/lab/performance.md as it is
    #[arg(long)]
    print_only: bool,
}

impl Connack {
    pub(crate) fn usual(quick: bool) -> Self {
        Self { count: if quick { 100 } else { 500 }, print_only: false }
    }
}

/// Mosquitto has `set_tcp_nodelay`.
const SERVERS: [Peer; 3] = [Peer::Certward, Peer::Mosquitto, Peer::Nginx];
const TESTS: [Workload; 3] = [Workload::Full, Workload::Resumed, Workload::Tls12];
/// Servers alternate: the machine's noise meets all.
const ROUNDS: usize = 10;

pub(crate) fn measure(connack: &Connack) -> Result<()> {
    let folder = TempDir::with_prefix("certward-bench-")?;
    let (credentials, broker) = (Credentials::make(folder.path())?, EchoBroker::start(0)?);
    let stage = Stage { folder: folder.path(), credentials: &credentials, broker: broker.address() };
    let servers: Vec<Server> =
        SERVERS.into_iter().map(|kind| Server::start(kind, &stage)).collect::<Result<_>>()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut text = format!(
        "{} connections each, one after the other; milliseconds from the end of the handshake to CONNACK.\n\n\
         | handshake | Nagle | server | median | 99 % | max |\n|---|---|---|---|---|---|\n",
        connack.count
    );
    for test in TESTS {
        for nagle in [true, false] {
            let mut times = vec![Vec::new(); servers.len()];
            let clients = servers
                .iter()
                .map(|server| client(server, test, nagle, &credentials))
                .collect::<Result<Vec<_>>>()?;
            for _ in 0..ROUNDS {
                for (client, times) in clients.iter().zip(&mut times) {
                    for _ in 0..connack.count.div_ceil(ROUNDS) {
                        times.push(runtime.block_on(time_to_connack(client))?);
                    }
                }
            }
            for (server, times) in servers.iter().zip(times) {
                text += &format!(
                    "| {} | {} | {} | {} |\n",
                    named(test.handshake()),
                    if nagle { "on" } else { "off" },
                    server.peer.title(),
                    Spread::new(times).cells()
                );
            }
        }
    }
    println!("{text}");
    if !connack.print_only {
        document::write_section("connack", &text)?;
    }
    Ok(())
}

fn named(handshake: Handshake) -> &'static str {
    match handshake {
        Handshake::Resumed => "TLS 1.3, resumed",
        Handshake::Tls12 => "TLS 1.2",
        Handshake::Full | Handshake::Hybrid => "TLS 1.3",
    }
}

fn client(server: &Server, test: Workload, nagle: bool, credentials: &Credentials) -> Result<Client> {
    let client = Client::new(&server.endpoint(test, credentials), test.handshake(), None)?;
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

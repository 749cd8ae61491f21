//! A million deployments in one store: disk, memory, and the work that grows.

use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use certward_store::{Address, MasterKey, Servers, Store, SystemClock};
use certward_tests::{Authority, PostgresServer, came_within, run};
use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;

use crate::{
    judge::figures::{Series, digits},
    load::broker::EchoBroker,
    load::client::{Client, Endpoint},
    load::generator::Generator,
    load::swap,
    load::workload::Handshake,
    measure::fleet::{CertwardFleet, Member, first_handshake},
    process::machine,
    process::meter::Meter,
    render::document,
    render::performance::line,
};

const COLD: usize = 500;
const SWAPS: usize = 10;
const ASKED: usize = 20;
const PROOFS_FOR: Duration = Duration::from_secs(60);
const INDEX_WITHIN: Duration = Duration::from_secs(10 * 60);
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, Args)]
pub(crate) struct Million {
    /// In which store
    #[arg(value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// How many deployments instead; nothing is written into the document then
    #[arg(long, default_value_t = 1_000_000)]
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The embedded one
    Sqlite,
    /// PostgreSQL, to which the embedded one is copied by `certward migrate-store`
    Postgres,
}

pub(crate) fn measure(million: &Million) -> Result<()> {
    let &Million { engine, count } = million;
    ensure!(count > 10 * COLD, "the names that are met once must be few among all");
    let mut text = format!("{}\n\n| {count} deployments | |\n|---|---|\n", machine::facts());
    let mut say = |what: &str, value: String| {
        eprintln!("{what}: {value}");
        line(&mut text, &[what.to_owned(), value]);
    };
    let (broker, generator, authority) =
        (EchoBroker::start(0)?, Generator::new(None)?, Authority::new("Bench CA"));
    let mut fleet = CertwardFleet::new(broker.address())?;
    let began = Instant::now();
    fleet.add((0..count).map(|number| Member::new(&authority, number)))?;
    say("made past the API, certificates included, s", seconds(began));
    let database = fleet.certward().data().join("store.db");
    say("the embedded store on disk, MiB", digits(fs::metadata(&database)?.len() as f64 / MIB));
    let server = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(moved(&mut fleet, &mut say)?),
    };
    started(&fleet, &generator, &authority, count, &mut say)?;
    asked(&fleet, server.as_ref().map(|(_, url)| url.as_str()), &mut say)?;
    println!("{text}");
    if count != 1_000_000 {
        return Ok(());
    }
    let section = match engine {
        Engine::Sqlite => "million sqlite",
        Engine::Postgres => "million postgres",
    };
    document::write_section_of("docs/scale.md", section, &text)
}

fn moved(fleet: &mut CertwardFleet, say: &mut impl FnMut(&str, String)) -> Result<(PostgresServer, String)> {
    let server = PostgresServer::start();
    let url = server.database();
    let mut command = fleet.certward().cli_without_key(&["migrate-store", "--to", &url, "--config"]);
    let began = Instant::now();
    let output = run(command.arg(fleet.certward().config()));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    say("`certward migrate-store` to PostgreSQL, s", seconds(began));
    let output =
        run(Command::new("psql").args([&url, "-Atc", "SELECT pg_database_size(current_database())"]));
    let bytes = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().context("psql")?;
    say("the database in PostgreSQL, MiB", digits(bytes / MIB));
    fleet.use_store(url.clone());
    Ok((server, url))
}

fn started(
    fleet: &CertwardFleet,
    generator: &Generator,
    authority: &Authority,
    count: usize,
    say: &mut impl FnMut(&str, String),
) -> Result<()> {
    let endpoint = |number: usize| Endpoint {
        address: fleet.address(),
        sni: Member::host(number),
        leaf: None,
        tls: true,
    };
    let began = Instant::now();
    let program = fleet.start()?;
    first_handshake(generator, &endpoint(count - 1))?;
    say("start to first handshake, s", seconds(began));
    let full = came_within(INDEX_WITHIN, || {
        program.output().contains("the index of hosts is complete").then_some(())
    });
    full.with_context(|| format!("the index is not filled: {}", program.output()))?;
    say("start to full index of hosts, s", seconds(began));
    let meter = Meter::of(program.id());
    let kib = meter.memory_kib()?;
    say("own memory then, MiB", digits(kib / 1024.0));
    say("all of it, by deployment, bytes", digits(kib * 1024.0 / count as f64));
    // Wall time: proofs use CPU time of the same process.
    let (mut cold, mut warm) = (Series::default(), Series::default());
    for number in 0..COLD {
        cold.push(shaken(generator, &endpoint(count / 2 + number))?);
    }
    for _ in 0..COLD {
        warm.push(shaken(generator, &endpoint(count / 2))?);
    }
    say("full handshake beside the proofs, name not asked for since the start, ms", spread(&cold));
    say("the same of a name just asked for, ms", spread(&warm));
    let (mut answered, mut old_until) = (Series::default(), Series::default());
    for turn in 0..SWAPS {
        let member = Member::new(authority, turn * 97);
        let change = || fleet.replace(&member);
        let swap = swap::watch(generator, &endpoint(turn * 97), &member.leaf.der, change)?;
        answered.push(swap.answered.as_secs_f64() * 1e3);
        old_until.push(swap.old_until.as_secs_f64() * 1e3);
    }
    say("a PUT to its answer, ms", spread(&answered));
    say("the old certificate is met until … ms after it", spread(&old_until));
    let api = fleet.certward().api();
    let mut one = Series::default();
    for turn in 0..ASKED {
        let began = Instant::now();
        api.send("GET", &format!("/deployments/d{}", turn * 97), None).expect(200);
        one.push(began.elapsed().as_secs_f64() * 1e3);
    }
    say("GET of one deployment, ms", spread(&one));
    std::thread::sleep(PROOFS_FOR);
    let proofs = program_metric(fleet, "certward_gateway_proofs_total{result=\"ok\"}");
    say("proofs made again in the first minutes, two at a time", proofs);
    say("own memory then, MiB", digits(meter.memory_kib()? / 1024.0));
    let began = Instant::now();
    let list = api.send("GET", "/deployments", None);
    let what = format!("{}, {:.0} MiB in {:.1?}", list.status, list.body.len() as f64 / MIB, began.elapsed());
    say("GET of the list of all: status, size and time", what);
    drop(list);
    say("own memory after it, MiB", digits(meter.memory_kib()? / 1024.0));
    Ok(())
}

fn shaken(generator: &Generator, endpoint: &Endpoint) -> Result<f64> {
    let client = Client::new(endpoint, Handshake::Full, None)?;
    let began = Instant::now();
    generator.run(async {
        client.handshake().await?.close().await;
        Ok(())
    })?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn program_metric(fleet: &CertwardFleet, name: &str) -> String {
    let answer = fleet.certward().api().try_send_at("GET", "/metrics", "", "");
    let text = answer.map(|answer| answer.body).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map_or("–".to_owned(), |value| value.trim().to_owned())
}

/// The node's periodic queries.
fn asked(fleet: &CertwardFleet, url: Option<&str>, say: &mut impl FnMut(&str, String)) -> Result<()> {
    let data = fleet.certward().data();
    let key = MasterKey::read(&data.join("master.key"))?;
    let address = match url {
        Some(url) => Address::Postgres(Servers::parse([url])?),
        None => Address::Embedded(data),
    };
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let store = Store::open(&address, &key, Arc::new(SystemClock)).await?;
        let began = Instant::now();
        let census = store.read().status_counts().await;
        let counted = census.as_ref().map_or_else(ToString::to_string, |census| census.running.to_string());
        say("census, ms (and what it counts as running)", format!("{} ({counted})", milliseconds(began)));
        let began = Instant::now();
        let pruned = store.prune(Duration::from_secs(3600)).await;
        say("pruning, ms", pruned.map_or_else(|error| error.to_string(), |()| milliseconds(began)));
        let began = Instant::now();
        let mut tx = store.begin().await?;
        tx.end_expired().await?;
        tx.overdue(100).await?;
        tx.commit().await?;
        say("the sweep of each second, ms", milliseconds(began));
        store.close().await;
        Ok(())
    })
}

fn seconds(began: Instant) -> String {
    digits(began.elapsed().as_secs_f64())
}

fn milliseconds(began: Instant) -> String {
    digits(began.elapsed().as_secs_f64() * 1e3)
}

fn spread(series: &Series) -> String {
    let values = series.median().zip(series.max());
    values.map_or("–".to_owned(), |(median, most)| format!("{} ({})", digits(median), digits(most)))
}

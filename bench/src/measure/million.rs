//! A million deployments in one store: disk, memory, and the work that grows.

use std::{
    fs,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use certward_store::{Address, MasterKey, Servers, Store, SystemClock};
use certward_tests::{Authority, PostgresServer, came_within, run};
use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;

use super::fleet::{start, swaps};
use crate::{
    judge::Series,
    load::{Client, EchoBroker, Endpoint, Generator, Handshake, Swap},
    peers::{CertwardFleet, FleetServer, Member},
    process::Meter,
    results::{Report, Table, Value},
};

const WHOLE: usize = 1_000_000;
const COLD: usize = 500;
const SWAPS: usize = 10;
const ASKED: usize = 20;
const PROOFS_FOR: Duration = Duration::from_secs(60);
const INDEX_WITHIN: Duration = Duration::from_secs(10 * 60);
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, Args)]
pub(crate) struct MillionOptions {
    /// In which store
    #[arg(value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// How many deployments instead; docs/scale.md shows only a million
    #[arg(long, default_value_t = WHOLE)]
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The embedded one
    Sqlite,
    /// PostgreSQL, to which the embedded one is copied by `certward migrate-store`
    Postgres,
}

/// The facts in the order in which they were measured.
struct Million {
    count: usize,
    table: Table,
}

pub(crate) fn measure(options: &MillionOptions) -> Result<Report> {
    let &MillionOptions { engine, count } = options;
    ensure!(count > 10 * COLD, "the names that are asked for once must be few among all");
    let mut report = Report::new(match engine {
        Engine::Sqlite => "million sqlite",
        Engine::Postgres => "million postgres",
    });
    report.whole = count == WHOLE;
    let (broker, generator, authority) =
        (EchoBroker::start(0)?, Generator::new(None)?, Authority::new("Bench CA"));
    let mut fleet = CertwardFleet::new(broker.address());
    let mut million = Million { count, table: Table::default() };
    let began = Instant::now();
    fleet.add(&mut (0..count).map(|number| Member::new(&authority, number)))?;
    million.seconds("filled past the API, certificates included, s", began);
    let database = fleet.certward().data().join("store.db");
    million.note("embedded store on disk, MiB", fs::metadata(&database)?.len() as f64 / MIB);
    let server = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(million.migrate(&mut fleet)?),
    };
    million.start(&fleet, &generator, &authority)?;
    million.query(&fleet, server.as_ref().map(|(_, url)| url.as_str()))?;
    report.table(million.table);
    Ok(report)
}

impl Million {
    fn note(&mut self, what: &str, value: impl Into<Value>) {
        let value = value.into();
        eprintln!("{what}: {value:?}");
        self.table.row([(format!("{} deployments", self.count), what.into()), (String::new(), value)]);
    }

    fn spread(&mut self, what: &str, values: Series) {
        self.note(what, Value::Median(values));
    }

    fn seconds(&mut self, what: &str, began: Instant) {
        self.note(what, began.elapsed().as_secs_f64());
    }

    fn ms(&mut self, what: &str, began: Instant) {
        self.note(what, milliseconds(began));
    }

    fn migrate(&mut self, fleet: &mut CertwardFleet) -> Result<(PostgresServer, String)> {
        let server = PostgresServer::start();
        let url = server.database();
        let mut command = fleet.certward().cli_without_key(&["migrate-store", "--to", &url, "--config"]);
        let began = Instant::now();
        let output = run(command.arg(fleet.certward().config()));
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.seconds("`certward migrate-store` to PostgreSQL, s", began);
        let query = "SELECT pg_database_size(current_database())";
        let output = run(Command::new("psql").args([&url, "-Atc", query]));
        let bytes = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().context("psql")?;
        self.note("database in PostgreSQL, MiB", bytes / MIB);
        fleet.use_store(url.clone());
        Ok((server, url))
    }

    fn start(&mut self, fleet: &CertwardFleet, generator: &Generator, authority: &Authority) -> Result<()> {
        let began = Instant::now();
        let (program, took) = start(fleet, generator, &fleet.endpoint(self.count - 1))?;
        self.note("start to first handshake, s", took);
        let full = came_within(INDEX_WITHIN, || {
            program.output().contains("the index of hosts is complete").then_some(())
        });
        full.with_context(|| format!("the index is not filled: {}", program.output()))?;
        self.seconds("start to full index of hosts, s", began);
        let meter = Meter::of(program.id());
        let kib = meter.memory_kib()?;
        self.note("memory then, MiB", kib / 1024.0);
        self.note("memory then per deployment, bytes", kib * 1024.0 / self.count as f64);
        self.handshakes(fleet, generator)?;
        let swaps = swaps(fleet, &program, generator, authority, self.count, SWAPS)?;
        let [answered, old_until] = Swap::times(&swaps);
        self.spread("PUT to its answer, ms", answered);
        self.spread("old certificate served after the answer, ms", old_until);
        self.reads(fleet, &meter)
    }

    /// Wall time: proofs use CPU time of the same process.
    fn handshakes(&mut self, fleet: &CertwardFleet, generator: &Generator) -> Result<()> {
        let middle = self.count / 2;
        let series = |numbers: &mut dyn Iterator<Item = usize>| -> Result<Series> {
            numbers.map(|number| handshake(generator, &fleet.endpoint(number))).collect()
        };
        let cold = series(&mut (middle..middle + COLD))?;
        let warm = series(&mut std::iter::repeat_n(middle, COLD))?;
        self.spread("full handshake beside the proofs, name not used since the start, ms", cold);
        self.spread("the same with a name just used, ms", warm);
        Ok(())
    }

    fn reads(&mut self, fleet: &CertwardFleet, meter: &Meter) -> Result<()> {
        let api = fleet.certward().api();
        let one = (0..ASKED).map(|turn| {
            let began = Instant::now();
            api.send("GET", &format!("/deployments/d{}", turn * 97), None).expect(200);
            milliseconds(began)
        });
        self.spread("GET of one deployment, ms", one.collect());
        thread::sleep(PROOFS_FOR);
        let proofs = metric(fleet, "certward_gateway_proofs_total{result=\"ok\"}");
        self.note("proofs in the first minutes, two at a time", proofs);
        self.note("memory then, MiB", meter.memory_kib()? / 1024.0);
        let began = Instant::now();
        let list = api.send("GET", "/deployments", None);
        let mib = list.body.len() as f64 / MIB;
        let answer = format!("{}, {mib:.0} MiB in {:.1?}", list.status, began.elapsed());
        self.note("GET of all deployments: status, size and time", answer);
        drop(list);
        self.note("memory after it, MiB", meter.memory_kib()? / 1024.0);
        Ok(())
    }

    /// The node's periodic queries.
    fn query(&mut self, fleet: &CertwardFleet, url: Option<&str>) -> Result<()> {
        let data = fleet.certward().data();
        let key = MasterKey::read(&data.join("master.key"))?;
        let address = match url {
            Some(url) => Address::Postgres(Servers::parse([url])?),
            None => Address::Embedded(data),
        };
        Runtime::new()?.block_on(async {
            let store = Store::open(&address, &key, Arc::new(SystemClock)).await?;
            let began = Instant::now();
            // A query that fails here does not discard the rest.
            let counts = store.read().status_counts().await;
            let running = counts.map_or_else(|error| error.to_string(), |counts| counts.running.to_string());
            let counted = format!("{:.0} ({running})", milliseconds(began));
            self.note("counting by status, ms (and those running)", counted);
            let began = Instant::now();
            match store.prune(Duration::from_secs(3600)).await {
                Ok(()) => self.ms("pruning, ms", began),
                Err(error) => self.note("pruning, ms", error.to_string()),
            }
            let began = Instant::now();
            let mut tx = store.begin().await?;
            tx.end_expired().await?;
            tx.overdue(100).await?;
            tx.commit().await?;
            self.ms("the sweep of each second, ms", began);
            store.close().await;
            Ok(())
        })
    }
}

fn handshake(generator: &Generator, endpoint: &Endpoint) -> Result<f64> {
    let client = Client::new(endpoint, Handshake::Full, None)?;
    let began = Instant::now();
    generator.run(async {
        client.handshake().await?.close().await;
        Ok(())
    })?;
    Ok(milliseconds(began))
}

fn metric(fleet: &CertwardFleet, name: &str) -> String {
    let answer = fleet.certward().api().try_send_at("GET", "/metrics", "", "");
    let text = answer.map(|answer| answer.body).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map_or("–".to_owned(), |value| value.trim().to_owned())
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

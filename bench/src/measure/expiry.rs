//! A day of the expiry task in an embedded store of a million deployments.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use certward_lifecycle::{ExpiryRules, ExpiryWatch};
use certward_store::{Address, MasterKey, Store, SystemClock, Timestamp};
use certward_tests::Authority;
use clap::Args;
use nix::time::{ClockId, clock_gettime};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tokio::runtime::Runtime;

use crate::{
    load::EchoBroker,
    peers::{CertwardFleet, FleetServer, Member},
    results::{Report, Table, Value},
};

const WHOLE: usize = 1_000_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Of the certificates, which are renewed when a third is left.
const LIFETIME_DAYS: i64 = 47;
const TURN_MS: i64 = 5_000;
/// Of the certificates, one in so many is not renewed.
const FORGOTTEN: i64 = 200;
/// Renewals come in so many groups a day.
const GROUPS: i64 = 288;

#[derive(Debug, Args)]
pub(crate) struct ExpiryOptions {
    /// How many deployments instead; docs/scale.md shows only a million
    #[arg(long, default_value_t = WHOLE)]
    count: usize,
}

struct Day {
    count: usize,
    table: Table,
}

pub(crate) fn measure(options: &ExpiryOptions) -> Result<Report> {
    let &ExpiryOptions { count } = options;
    let mut report = Report::new("expiry");
    report.whole = count == WHOLE;
    let (broker, authority) = (EchoBroker::start(0)?, Authority::new("Bench CA"));
    let mut fleet = CertwardFleet::new(broker.address());
    fleet.add(&mut (0..count).map(|number| Member::new(&authority, number)))?;
    let mut day = Day { count, table: Table::default() };
    let data = fleet.certward().data();
    let key = MasterKey::read(&data.join("master.key"))?;
    let database = format!("sqlite://{}?mode=rw", data.join("store.db").display());
    Runtime::new()?.block_on(async {
        let store = Store::open(&Address::Embedded(data), &key, Arc::new(SystemClock)).await?;
        day.walk(&store, &database).await?;
        store.close().await;
        anyhow::Ok(())
    })?;
    report.table(day.table);
    Ok(report)
}

impl Day {
    fn note(&mut self, what: &str, value: impl Into<Value>) {
        let value = value.into();
        eprintln!("{what}: {value:?}");
        self.table.row([(format!("{} deployments", self.count), what.into()), (String::new(), value)]);
    }

    async fn walk(&mut self, store: &Store, database: &str) -> Result<()> {
        let now = store.clock().now();
        let mut watch = ExpiryWatch::new(store.clone(), ExpiryRules::default());
        let (began, cpu) = (Instant::now(), cpu_seconds()?);
        watch.turn(now).await?;
        self.note("listing all after an upgrade, s", began.elapsed().as_secs_f64());
        self.note("the same, s of CPU", cpu_seconds()? - cpu);

        let mut conn = AnyConnection::connect(database).await?;
        self.spread_ends(&mut conn, now).await?;
        let (mut turns, mut alerts, mut renewed) = (Vec::new(), 0, 0);
        let cpu = cpu_seconds()?;
        let mut spent_elsewhere = 0.0;
        for turn in 0..DAY_MS / TURN_MS {
            let at = Timestamp(now.0 + turn * TURN_MS);
            if turn % (DAY_MS / TURN_MS / GROUPS) == 0 {
                let before = cpu_seconds()?;
                renewed += self.renew_some(&mut conn, turn).await?;
                spent_elsewhere += cpu_seconds()? - before;
            }
            let began = Instant::now();
            alerts += watch.turn(at).await?.len();
            turns.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let spent = cpu_seconds()? - cpu - spent_elsewhere;
        conn.close().await?;
        self.note("renewed certificates listed in the day", renewed as f64);
        self.note("alerts recorded in the day", alerts as f64);
        self.note("CPU of the day, s", spent);
        self.note("the same, % of a core", format!("{:.4}", 100.0 * spent / 86_400.0));
        turns.sort_by(f64::total_cmp);
        let longest = turns.last().copied().context("no turn")?;
        self.note("median of the turns, ms", turns[turns.len() / 2]);
        self.note("longest turn, ms", longest);
        ensure!(renewed > 0 && alerts > 0, "the day had no work");
        Ok(())
    }

    /// As after years: each renewed when a third is left, but a few. The chain itself stays, as its
    /// listing costs the same.
    async fn spread_ends(&self, conn: &mut AnyConnection, now: Timestamp) -> Result<()> {
        let (lifetime, third) = (LIFETIME_DAYS * DAY_MS, LIFETIME_DAYS * DAY_MS / 3);
        let healthy = lifetime - third;
        let sql = format!(
            "UPDATE ending SET ends_at = {now} + {third} + (number * 7919 * 1000) % {healthy} WHERE kind = 'leaf';
             UPDATE ending SET ends_at = {now} + (number * 7919 * 1000) % {third}
                 WHERE kind = 'leaf' AND number % {FORGOTTEN} = 0;
             UPDATE ending SET begins_at = ends_at - {lifetime}, due_at = CASE
                 WHEN ends_at - {lifetime} / 5 > {now} THEN ends_at - {lifetime} / 5
                 WHEN ends_at - {lifetime} / 10 > {now} THEN ends_at - {lifetime} / 10
                 WHEN ends_at - {lifetime} / 30 > {now} THEN ends_at - {lifetime} / 30
                 ELSE ends_at END WHERE kind = 'leaf'",
            now = now.0
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
        Ok(())
    }

    /// The day's share of one group, listed again.
    async fn renew_some(&self, conn: &mut AnyConnection, turn: i64) -> Result<u64> {
        let a_day = self.count as i64 * 3 / (LIFETIME_DAYS * 2);
        let (share, from) = ((a_day / GROUPS).max(1), turn * 31 % self.count as i64);
        let group = format!("(SELECT id FROM deployment WHERE id >= 'd{from}' ORDER BY id LIMIT {share})");
        // Another certificate than the one that will be listed.
        let sql =
            format!("UPDATE ending SET item = 'before-' || number WHERE owner IN {group} AND kind = 'leaf'");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
        let sql = format!("UPDATE deployment SET ending_version = NULL WHERE id IN {group}");
        Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?.rows_affected())
    }
}

fn cpu_seconds() -> Result<f64> {
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(spent.tv_sec() as f64 + spent.tv_nsec() as f64 / 1e9)
}

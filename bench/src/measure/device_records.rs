//! What knowing devices costs a handshake: three certwards, with `devices` set to `full`, `counts`
//! and `off`, in turn.

use std::{thread::sleep, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::{
    judge::Series,
    load::{Generator, Workload, connect_all, end_all},
    peers::{Server, Testbed},
    results::{Report, Table, Value},
};

/// Handshakes with each setting of `devices`.
#[derive(Debug, Args)]
pub(crate) struct DeviceRecordsOptions {
    /// How often each setting is measured
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Handshakes of each round; the usual number if it is not given
    #[arg(long)]
    count: Option<usize>,
}

const SETTINGS: [&str; 3] = ["full", "counts", "off"];
const WORKLOADS: [Workload; 4] = [Workload::Full, Workload::Resumed, Workload::TwoWay, Workload::TwoWayFirst];
const PARALLEL: usize = 16;
/// The last records are written in less.
const RECORDS_WRITTEN: Duration = Duration::from_secs(7);

struct Setting {
    name: &'static str,
    server: Server,
    /// µs of CPU time of a handshake, for each round of each workload.
    cpu: Vec<Vec<f64>>,
    /// From TCP's SYN to CONNACK.
    times: Vec<Vec<Duration>>,
    handshakes: usize,
}

pub(crate) fn measure(options: &DeviceRecordsOptions) -> Result<Report> {
    let mut report = Report::new("device-records");
    let testbed = Testbed::new()?;
    let generator = Generator::of(&testbed.credentials)?;
    let empty = |name| Setting {
        name,
        server: Server::certward(&testbed, Some(name)),
        cpu: vec![Vec::new(); WORKLOADS.len()],
        times: vec![Vec::new(); WORKLOADS.len()],
        handshakes: 0,
    };
    let mut settings = SETTINGS.map(empty);
    let mut before = Vec::new();
    for setting in &settings {
        before.push(setting.server.meter().settled_cpu()?);
    }
    for round in 0..options.rounds.max(1) {
        for (at, &workload) in WORKLOADS.iter().enumerate() {
            // The order rotates.
            for place in 0..settings.len() {
                let setting = &mut settings[(place + round) % SETTINGS.len()];
                setting.run(at, workload, &generator, &testbed, options.count)?;
            }
        }
    }
    sleep(RECORDS_WRITTEN);
    let mut all = Table::default();
    for (setting, before) in settings.iter().zip(before) {
        let cpu = setting.server.meter().settled_cpu()? - before;
        let each = cpu.as_secs_f64() * 1e6 / setting.handshakes as f64;
        all.row([("`devices`", setting.name.into()), ("µs", Value::Number(each))]);
    }
    report.text(format!(
        "{} rounds. CPU time of the server and time to CONNACK, of a handshake:",
        options.rounds
    ));
    report.table(handshakes(&settings));
    report.text(
        "CPU time of the whole run with the end of each connection and all that was written to the store, for each \
         handshake of the table:",
    );
    report.table(all);
    Ok(report)
}

impl Setting {
    fn run(
        &mut self,
        at: usize,
        workload: Workload,
        generator: &Generator,
        testbed: &Testbed,
        count: Option<usize>,
    ) -> Result<()> {
        let count = count.unwrap_or(workload.count(false));
        let endpoint = self.server.endpoint(workload, testbed);
        let measured = generator.measure(workload, &endpoint, self.server.meter(), count)?;
        eprintln!("{:>10.2} µs {:<7} {}", measured.value, self.name, workload.title());
        self.cpu[at].push(measured.value);
        self.handshakes += count;
        let clients = match workload {
            Workload::TwoWayFirst => generator.first_clients(&endpoint, count)?,
            _ => generator.clients(workload, &endpoint, PARALLEL)?,
        };
        let each = if workload == Workload::TwoWayFirst { PARALLEL } else { count };
        for clients in clients.chunks(PARALLEL) {
            let (sessions, times) = generator.run(connect_all(clients, each.min(count)))?;
            self.times[at].extend(times);
            generator.run(end_all(sessions))?;
        }
        self.handshakes += count;
        Ok(())
    }
}

fn handshakes(settings: &[Setting; 3]) -> Table {
    let [.., off] = settings;
    let mut table = Table::default();
    for (at, workload) in WORKLOADS.iter().enumerate() {
        for setting in settings {
            // Within a round: the machine's noise meets both.
            let ratios = setting.cpu[at].iter().zip(&off.cpu[at]).map(|(own, off)| own / off);
            table.row([
                ("handshake", workload.title().into()),
                ("`devices`", setting.name.into()),
                ("µs (largest)", Value::Median(setting.cpu[at].iter().copied().collect())),
                ("× `off`", ratios.collect::<Series>().median().map_or(Value::Missing, Value::Number)),
                ("ms", Value::Percentiles(Series::ms(setting.times[at].iter().copied()))),
            ]);
        }
    }
    table
}

//! certward's CPU time under load, sampled by `perf`.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use certward_tests::run;
use clap::Args;

use crate::{
    load::{Generator, Workload},
    peers::{Peer, Server, Testbed},
    results::{Report, Table},
};

/// A profile of certward.
#[derive(Debug, Default, Args)]
pub(crate) struct ProfileOptions {
    /// Under these loads; handshakes and small messages if none is given
    #[arg(value_enum)]
    pub(crate) tests: Vec<Workload>,
}

#[derive(Debug)]
struct Symbol {
    percent: f64,
    /// The library or program that the function belongs to.
    part: &'static str,
    name: String,
}

/// A virtual machine has no counters, only the clock.
const SPAN: Duration = Duration::from_secs(5);
const SAMPLES_A_SECOND: &str = "4000";
/// Symbols of each part.
const NAMED: usize = 6;

pub(crate) fn measure(options: &ProfileOptions) -> Result<Report> {
    let mut report = Report::new("profile");
    let testbed = Testbed::new()?;
    let server = Server::start(Peer::Certward, &testbed)?;
    let generator = Generator::of(&testbed.credentials)?;
    let workloads =
        if options.tests.is_empty() { &[Workload::Full, Workload::Small][..] } else { &options.tests };
    for &workload in workloads {
        let load = || -> Result<()> {
            let (endpoint, count) = (server.endpoint(workload, &testbed), workload.count(true));
            generator.measure(workload, &endpoint, server.meter(), count).map(drop)
        };
        let symbols = sample(testbed.folder(), server.meter().processes()[0], load)?;
        report.heading(workload.title());
        report.table(table(&symbols));
    }
    Ok(report)
}

fn sample(folder: &Path, process: u32, load: impl Fn() -> Result<()>) -> Result<Vec<Symbol>> {
    let file = folder.join("perf.data");
    load()?;
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "-e", "cpu-clock", "-F", SAMPLES_A_SECOND, "-o"]).arg(&file);
    perf.args(["-p", &process.to_string(), "--", "sleep", &SPAN.as_secs().to_string()]);
    let mut child = perf.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("perf does not start")?;
    let (ended, has_ended) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || ended.send(child.wait()));
        loop {
            load()?;
            if let Ok(status) = has_ended.try_recv() {
                ensure!(status.context("perf")?.success(), "perf record fails");
                return Ok(());
            }
        }
    })?;
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--no-children", "-g", "none", "--sort", "dso,symbol"]);
    report.args(["-F", "overhead,dso,symbol"]);
    report.args(["--percent-limit", "0", "-t", "|", "-i"]).arg(&file);
    let output = run(&mut report);
    ensure!(output.status.success(), "perf report: {}", String::from_utf8_lossy(&output.stderr));
    Ok(read(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines like ` 3.21% |certward |[.] name`; the largest first.
fn read(report: &str) -> Vec<Symbol> {
    let lines = report.lines().filter(|line| !line.starts_with('#'));
    let symbols = lines.filter_map(|line| {
        let mut fields = line.splitn(3, '|').map(str::trim);
        let percent = fields.next()?.trim_end_matches('%').parse().ok()?;
        let object = fields.next()?;
        // `[k]` or `[.]`: kernel or user.
        let (_, name) = fields.next()?.split_once(']')?;
        let name = name.split("  ").next().unwrap_or_default().trim_matches(['|', ' ']).to_owned();
        Some(Symbol { percent, part: part(object, &name), name })
    });
    let mut symbols: Vec<Symbol> = symbols.collect();
    symbols.sort_by(|one, other| other.percent.total_cmp(&one.percent));
    symbols
}

/// By its name.
fn part(object: &str, name: &str) -> &'static str {
    if object.contains("kernel") || object.contains("unknown") || object.contains("vdso") {
        return "kernel";
    }
    if object.contains("libc") {
        return "libc";
    }
    // Assembly names.
    const CIPHERS: [&str; 6] = ["aws_lc", "curve25519", "nistz256", "bignum_", "aead_", "gcm_"];
    if CIPHERS.iter().any(|cipher| name.contains(cipher)) && !name.contains("::") {
        return "aws-lc";
    }
    // A generic function belongs to the crate first in its name.
    let name = name.trim_start_matches(['<', '&']).trim_start_matches("dyn ");
    let begins: [(&[&str], &str); 5] = [
        (&["rustls", "webpki", "aws_lc_rs"], "rustls"),
        (&["tokio", "mio", "futures"], "tokio"),
        (&["certward"], "certward"),
        (&["core", "alloc", "std", "__rust", "__rdl", "hashbrown"], "std"),
        (&["sqlx", "sqlite"], "store"),
    ];
    let owner = begins.iter().find(|(all, _)| all.iter().any(|begin| name.starts_with(begin)));
    owner.map_or("other", |(_, part)| part)
}

fn table(symbols: &[Symbol]) -> Table {
    let mut parts: BTreeMap<&str, f64> = BTreeMap::new();
    symbols.iter().for_each(|symbol| *parts.entry(symbol.part).or_default() += symbol.percent);
    let mut parts: Vec<_> = parts.into_iter().filter(|(_, share)| *share >= 0.5).collect();
    parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut table = Table::default();
    for (part, share) in parts {
        let own = symbols.iter().filter(|symbol| symbol.part == part).take(NAMED);
        let largest = own.filter(|symbol| symbol.percent >= 0.3);
        let largest: Vec<String> =
            largest.map(|symbol| format!("`{}` {:.1}", short(&symbol.name), symbol.percent)).collect();
        table.row([
            ("part", part.into()),
            ("share, %", share.into()),
            ("its largest", largest.join(", ").into()),
        ]);
    }
    table
}

/// The end of a name, which tells functions apart.
fn short(name: &str) -> String {
    const LENGTH: usize = 48;
    let name = name.replace('|', "/").replace('`', "");
    match name.char_indices().rev().nth(LENGTH - 1) {
        Some((at, _)) if at > 0 => format!("…{}", &name[at..]),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_perf_is_read() {
        let report = "# Overhead\n#\n    12.50%|certward         |[.] aws_lc_0_38_0_sha256_block_data_order   |-      -\n     \
                      3.10%|[kernel.kallsyms]|[k] tcp_sendmsg_locked\n\n";
        let symbols = read(report);
        assert_eq!(symbols.len(), 2);
        assert_eq!(
            (symbols[0].percent, symbols[0].name.as_str()),
            (12.5, "aws_lc_0_38_0_sha256_block_data_order")
        );
        let parts: Vec<_> = symbols.iter().map(|symbol| symbol.part).collect();
        assert_eq!(parts, ["aws-lc", "kernel"]);
    }

    #[test]
    fn code_belongs_to_who_wrote_it() {
        for (name, expected) in [
            ("<rustls::conn::ConnectionCommon<T>>::process_new_packets", "rustls"),
            ("tokio::runtime::task::harness::Harness<T,S>::poll", "tokio"),
            ("certward_gateway::relay::Relay::poll", "certward"),
            ("core::ptr::drop_in_place<x>", "std"),
            ("Lcurve25519_x25519_scalarloop", "aws-lc"),
            ("unheard_of", "other"),
        ] {
            assert_eq!(part("certward", name), expected, "{name}");
        }
    }
}

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
use tempfile::TempDir;

use crate::{
    load::broker::EchoBroker,
    load::credentials::Credentials,
    load::generator::Generator,
    load::workload::Workload,
    peers::{Peer, Server, Stage},
    process::machine,
    render::document,
    render::performance::line,
};

/// A profile of certward.
#[derive(Debug, Args)]
pub(crate) struct Profile {
    /// Under these loads; handshakes and small messages if none is given
    #[arg(value_enum)]
    tests: Vec<Workload>,
    /// Symbols that are printed
    #[arg(long, default_value_t = 25)]
    symbols: usize,
    /// Prints and leaves docs/lab/performance.md as it is
    #[arg(long)]
    print_only: bool,
}

impl Profile {
    pub(crate) fn usual() -> Self {
        Self { tests: Vec::new(), symbols: 25, print_only: false }
    }
}

/// A virtual machine has no counters, only the clock.
const SPAN: Duration = Duration::from_secs(5);
const SAMPLES_A_SECOND: &str = "4000";
const NAMED: usize = 6;

pub(crate) fn measure(profile: &Profile) -> Result<()> {
    let folder = TempDir::with_prefix("certward-bench-")?;
    let (credentials, broker) = (Credentials::make(folder.path())?, EchoBroker::start(0)?);
    let stage = Stage { folder: folder.path(), credentials: &credentials, broker: broker.address() };
    let server = Server::start(Peer::Certward, &stage)?;
    let generator = Generator::of(&credentials)?;
    let tests =
        if profile.tests.is_empty() { &[Workload::Full, Workload::Small][..] } else { &profile.tests };
    let mut text = format!("{}\n\n", machine::facts());
    for &test in tests {
        let load = || -> Result<()> {
            let (endpoint, count) = (server.endpoint(test, &credentials), test.count(true));
            generator.measure(test, &endpoint, server.meter(), count).map(drop)
        };
        let symbols = sample(folder.path(), server.meter().processes()[0], load)?;
        println!("## {}\n", test.title());
        for Symbol { share, object, name } in symbols.iter().take(profile.symbols) {
            println!("{share:>6.2} %  {:<10} {name}  ({object})", part(object, name));
        }
        println!();
        text.push_str(&section(test, &symbols));
    }
    println!("{text}");
    if profile.print_only { Ok(()) } else { document::write_section("profile", &text) }
}

#[derive(Debug, Clone, PartialEq)]
struct Symbol {
    /// In percent.
    share: f64,
    object: String,
    name: String,
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
    report.args([
        "report",
        "--stdio",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "dso,symbol",
        "-F",
        "overhead,dso,symbol",
    ]);
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
        let share = fields.next()?.trim_end_matches('%').parse().ok()?;
        let object = fields.next()?.to_owned();
        // `[k]` or `[.]`: kernel or user.
        let (_, name) = fields.next()?.split_once(']')?;
        let name = name.split("  ").next().unwrap_or_default().trim_matches(['|', ' ']).to_owned();
        Some(Symbol { share, object, name })
    });
    let mut symbols: Vec<Symbol> = symbols.collect();
    symbols.sort_by(|one, other| other.share.total_cmp(&one.share));
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

fn section(test: Workload, symbols: &[Symbol]) -> String {
    let mut parts: BTreeMap<&str, f64> = BTreeMap::new();
    for symbol in symbols {
        *parts.entry(part(&symbol.object, &symbol.name)).or_default() += symbol.share;
    }
    let mut parts: Vec<_> = parts.into_iter().filter(|(_, share)| *share >= 0.5).collect();
    parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut out = format!("### {}\n\n| part | share, % | its largest |\n|---|---|---|\n", test.title());
    for (name, share) in parts {
        let own = symbols.iter().filter(|symbol| part(&symbol.object, &symbol.name) == name);
        let largest = own.take(NAMED).filter(|symbol| symbol.share >= 0.3);
        let largest: Vec<String> =
            largest.map(|symbol| format!("`{}` {:.1}", short(&symbol.name), symbol.share)).collect();
        line(&mut out, &[name.to_owned(), format!("{share:.1}"), largest.join(", ")]);
    }
    out.push('\n');
    out
}

fn short(name: &str) -> String {
    const LENGTH: usize = 48;
    let name = name.replace('|', "/").replace('`', "");
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= LENGTH {
        return name;
    }
    format!("…{}", characters[characters.len() - LENGTH..].iter().collect::<String>())
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
            (symbols[0].share, symbols[0].name.as_str()),
            (12.5, "aws_lc_0_38_0_sha256_block_data_order")
        );
        let parts: Vec<_> = symbols.iter().map(|symbol| part(&symbol.object, &symbol.name)).collect();
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

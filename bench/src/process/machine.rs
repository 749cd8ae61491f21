use std::{fs, process::Command, thread::sleep, time::Duration};

use certward_store::{Clock, SystemClock};
use certward_tests::workspace_root;
use serde::{Deserialize, Serialize};

/// Where, when and of which commit a measurement is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) is_virtual: bool,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// CPU time of other programs before the measurement, in percent of one core.
    pub(crate) others_percent: f64,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let processors = read("/proc/cpuinfo");
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Self {
            date: SystemClock.now().to_time().date().to_string(),
            commit: commit(),
            // This process may be pinned to one of them.
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            processor: field(&processors, "model name"),
            is_virtual: processors.contains("hypervisor"),
            memory_gib: kib.div_ceil(1024 * 1024),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            others_percent: others_percent(),
        }
    }
}

fn commit() -> String {
    let output =
        Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(workspace_root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn others_percent() -> f64 {
    let (before, span) = (busy_ticks(), Duration::from_secs(3));
    sleep(span);
    // A tick is 10 ms.
    (busy_ticks() - before) / span.as_secs_f64()
}

fn busy_ticks() -> f64 {
    let stat = read("/proc/stat");
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.map(|tick| tick.parse().unwrap_or(0.0)).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal.
    [0, 1, 2, 5, 6, 7].into_iter().filter_map(|at| ticks.get(at)).sum()
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or("not known", |(_, value)| value.trim()).to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

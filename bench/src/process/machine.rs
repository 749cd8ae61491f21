use std::{fs, thread::sleep, time::Duration};

use certward_store::{Clock, SystemClock};

/// Of one core, by other programs.
const QUIET_PERCENT: f64 = 10.0;

/// Before the run.
pub(crate) fn facts() -> String {
    let (machine, others) = (describe(), others_cpu_percent());
    if others <= QUIET_PERCENT {
        return format!("{machine}.");
    }
    format!("{machine}. **The machine was not quiet**: others took {others:.0} % of a core before it began.")
}

fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    // The generator may be pinned to one of them.
    let cores = cores.max(line_count("/proc/cpuinfo", "processor"));
    let virtual_machine = if fs::read_to_string("/proc/cpuinfo").unwrap_or_default().contains("hypervisor") {
        ", virtual machine"
    } else {
        ""
    };
    format!(
        "{}, {cores} cores of {}{virtual_machine}, {} of memory, Linux {}",
        today(),
        field("/proc/cpuinfo", "model name"),
        memory(),
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    )
}

pub(crate) fn today() -> String {
    SystemClock.now().to_time().date().to_string()
}

fn memory() -> String {
    let kib: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    format!("{} GiB", kib.div_ceil(1024 * 1024))
}

/// Other programs, in percent of one core.
fn others_cpu_percent() -> f64 {
    let (before, span) = (busy_ticks(), Duration::from_secs(3));
    sleep(span);
    // A tick is 10 ms.
    (busy_ticks() - before) / span.as_secs_f64()
}

fn busy_ticks() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.map(|tick| tick.parse().unwrap_or(0.0)).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal.
    [0, 1, 2, 5, 6, 7].into_iter().filter_map(|at| ticks.get(at)).sum()
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or("not known", |(_, value)| value.trim()).to_owned()
}

fn line_count(file: &str, name: &str) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().filter(|line| line.starts_with(name)).count()
}

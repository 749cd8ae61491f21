//! The metrics `process_…` under their usual names, read from /proc at each scrape. certward is not
//! dumpable, which keeps other processes out of `/proc/PID`, but not this one.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::{MetricType, info::Info},
    registry::{Registry, Unit},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

pub(super) fn register(registry: &mut Registry) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("certward_build", "The version that runs; the value is 1", Info::new(version));
    registry.register_collector(Box::new(ProcessCollector { booted_at: booted_at() }));
}

#[derive(Debug)]
struct ProcessCollector {
    /// Seconds since 1970.
    booted_at: Option<f64>,
}

/// Of /proc/self/stat.
#[derive(Debug, PartialEq)]
struct ProcessStat {
    cpu_seconds: f64,
    threads: i64,
    /// After the boot of the system.
    started_after_seconds: f64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

impl ProcessStat {
    /// proc_pid_stat(5). The name in parentheses may contain anything.
    fn parse(text: &str, ticks_per_second: u64, page_bytes: usize) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        // The first one is field 3, the state.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        let resident = field(24)?.saturating_mul(page_bytes as u64);
        Some(Self {
            cpu_seconds: seconds(field(14)?.saturating_add(field(15)?)),
            threads: i64::try_from(field(20)?).ok()?,
            started_after_seconds: seconds(field(22)?),
            virtual_bytes: i64::try_from(field(23)?).ok()?,
            resident_bytes: i64::try_from(resident).ok()?,
        })
    }

    fn read() -> Option<Self> {
        let text = fs::read("/proc/self/stat").ok()?;
        Self::parse(&String::from_utf8_lossy(&text), clock_ticks_per_second(), page_size())
    }
}

fn booted_at() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The size of the folder, since Linux 6.2; before, its entries are counted.
fn open_files() -> Option<i64> {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).ok()?.len();
    let count = match size {
        // Without the descriptor that reads the folder.
        0 => fs::read_dir(folder).ok()?.count().saturating_sub(1) as u64,
        size => size,
    };
    i64::try_from(count).ok()
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: Option<i64>| {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            value.map_or(Ok(()), |value| metric.encode_gauge(&value))
        };
        let stat = ProcessStat::read();
        let of = |part: fn(&ProcessStat) -> i64| stat.as_ref().map(part);
        let bytes = || Some(Unit::Bytes);
        gauge("process_resident_memory", "Memory in RAM.", bytes(), of(|stat| stat.resident_bytes))?;
        gauge("process_virtual_memory", "Memory mapped.", bytes(), of(|stat| stat.virtual_bytes))?;
        gauge("process_threads", "Threads.", None, of(|stat| stat.threads))?;
        gauge(
            "process_open_fds",
            "File descriptors in use; a connected device takes two.",
            None,
            open_files(),
        )?;
        let max = getrlimit(Resource::Nofile).current.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
        gauge("process_max_fds", "The limit of file descriptors; absent if there is none.", None, max)?;
        let started = stat.as_ref().zip(self.booted_at).map(|(stat, at)| at + stat.started_after_seconds);
        let (name, unit) = ("process_start_time", Unit::Seconds);
        let help = "When the process started, in seconds since 1970.";
        let mut metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        started.map_or(Ok(()), |started| metric.encode_gauge(&started))?;
        let help = "Processor time used, of all threads, in user and system mode.";
        let mut metric = encoder.encode_descriptor("process_cpu", help, Some(&unit), MetricType::Counter)?;
        stat.map_or(Ok(()), |stat| metric.encode_counter::<NoLabelSet, _, u64>(&stat.cpu_seconds, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_process_may_contain_what_separates_fields() {
        let stat = "1 (a) b) S 2 3 4 5 6 7 8 9 10 11 150 50 14 15 16 17 18 19 20021 22 23000 24 25 26";
        // Fields 14, 15, 20, 22, 23 and 24.
        let stat = stat.replace("18 19 20021 22 23000 24", "12 0 20000 9000 7");
        let expected = ProcessStat {
            cpu_seconds: 2.0,
            threads: 12,
            started_after_seconds: 200.0,
            virtual_bytes: 9000,
            resident_bytes: 7 * 4096,
        };
        assert_eq!(ProcessStat::parse(&stat, 100, 4096), Some(expected));
        for broken in ["", "1 (a", "1 (a) S 1 2", "1 (a) S a b c d e f g h i j k l m n o p q r s t u v w"] {
            assert_eq!(ProcessStat::parse(broken, 100, 4096), None, "{broken}");
        }
    }

    #[test]
    fn this_process_can_be_read() {
        let stat = ProcessStat::read().unwrap();
        assert!(stat.threads >= 1 && stat.resident_bytes > 0 && stat.virtual_bytes > stat.resident_bytes);
        assert!(booted_at().unwrap() + stat.started_after_seconds > 1e9);
        let (before, _file) = (open_files().unwrap(), fs::File::open("/proc/self/stat").unwrap());
        assert!(before >= 3, "{before}");
    }
}

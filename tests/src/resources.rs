use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{Process, wait_within};

/// Bound on the release of a load's resources: above every deadline that could hold them.
const RECOVERY: Duration = Duration::from_secs(60);
/// Sampling window of the processor time.
const WINDOW: Duration = Duration::from_millis(500);
/// Processor time of an idle program per [`WINDOW`]: timers and heartbeats, no busy loop.
const RESTING: Duration = Duration::from_millis(100);

/// A process's resources, read from `/proc`. certward is not dumpable: only root can read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Open files and sockets.
    pub descriptors: usize,
    /// Resident memory, KiB.
    pub resident_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time since the start, user and system.
    pub cpu: Duration,
}

impl Resources {
    /// The resources of this process; `None` if there is none.
    pub fn of(id: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).ok()?.count(),
            resident_kib: number("VmRSS:")?,
            threads: number("Threads:")?,
            cpu: cpu(id)?,
        })
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        self.resident_kib as f64 / 1024.0
    }
}

/// Fields 14 and 15 of `/proc/<id>/stat`, counted after the name, which may contain anything
/// (proc(5)).
fn cpu(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

impl Process {
    /// Its resources now.
    pub fn resources(&self) -> Resources {
        Resources::of(self.id()).expect("a running process")
    }

    /// Processor time used during `window`.
    pub fn cpu_within(&self, window: Duration) -> Duration {
        let begin = self.resources().cpu;
        thread::sleep(window);
        self.resources().cpu - begin
    }

    /// Waits until it has released a load's resources: no more descriptors than `before`, at most
    /// `growth_kib` more memory, and an idle processor. Returns those and the time.
    pub fn wait_recovered(&self, before: &Resources, growth_kib: u64) -> (Resources, Duration) {
        let begin = Instant::now();
        let mut last = *before;
        let recovered = crate::came_within(RECOVERY, || {
            last = self.resources();
            let back = last.descriptors <= before.descriptors
                && last.resident_kib <= before.resident_kib + growth_kib;
            back.then(|| begin.elapsed())
        });
        let recovered = recovered.unwrap_or_else(|| panic!("it held {before:?}, and now {last:?}"));
        self.wait_resting();
        (self.resources(), recovered)
    }

    /// Waits until its processor is idle.
    pub fn wait_resting(&self) {
        wait_within(RECOVERY, "rest", || (self.cpu_within(WINDOW) <= RESTING).then_some(()));
    }
}

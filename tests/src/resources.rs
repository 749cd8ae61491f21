use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{Process, wait_within};

/// Above every deadline that could hold resources.
const RECOVERY: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_millis(500);
/// An idle program's timers and heartbeats per [`WINDOW`].
const RESTING: Duration = Duration::from_millis(100);

/// Read from `/proc`; certward is not dumpable, so only root can.
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
    /// `None` if there is no such process.
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

/// Fields 14 and 15 of `/proc/<id>/stat`, after the name, which may contain anything (proc(5)).
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

    /// Waits until no more descriptors than `before`, at most `growth_kib` more memory and an idle
    /// processor are left; those and the time.
    pub fn wait_recovered(&self, before: &Resources, growth_kib: u64) -> (Resources, Duration) {
        let begin = Instant::now();
        let mut last = *before;
        let recovered = crate::came_within(RECOVERY, || {
            last = self.resources();
            let back = last.descriptors <= before.descriptors
                && last.resident_kib <= before.resident_kib.saturating_add(growth_kib);
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

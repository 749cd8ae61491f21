use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{Process, wait_within};

/// How long a program may take to give back what a load took: above every deadline of its own that could hold it.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long the processor is watched to see whether a program rests.
const WINDOW: Duration = Duration::from_millis(500);
/// What a program that rests may use of [`WINDOW`]: its timers and its signs of life, never a loop.
const RESTING: Duration = Duration::from_millis(100);

/// What a process holds at a moment, read from `/proc`. Of certward, which is not dumpable, only root can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Open files and sockets.
    pub descriptors: usize,
    /// Resident memory, KiB.
    pub resident_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time since its start, user and system.
    pub cpu: Duration,
}

impl Resources {
    /// What the process with this id holds now; `None` when there is none.
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

    /// Its memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        self.resident_kib as f64 / 1024.0
    }
}

/// Fields 14 and 15 of `/proc/<id>/stat`, counted after the name, which may hold anything (proc(5)).
fn cpu(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

impl Process {
    /// What it holds now.
    ///
    /// # Panics
    /// When it has ended.
    pub fn resources(&self) -> Resources {
        Resources::of(self.id()).expect("a running process")
    }

    /// The processor time that it uses while the window passes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn cpu_within(&self, window: Duration) -> Duration {
        let begin = self.resources().cpu;
        thread::sleep(window);
        self.resources().cpu - begin
    }

    /// Waits until it has given back what a load took: no more descriptors than `before`, at most `growth_kib` more memory,
    /// and a processor at rest. What it holds then, and how long that took.
    ///
    /// # Panics
    /// When it does not.
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

    /// Waits until its processor rests.
    ///
    /// # Panics
    /// When it goes on and on.
    pub fn wait_resting(&self) {
        wait_within(RECOVERY, "rest", || (self.cpu_within(WINDOW) <= RESTING).then_some(()));
    }
}

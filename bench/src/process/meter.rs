use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// A process and its descendants, by their CPU clocks in nanoseconds, ended threads included, which
/// `/proc/PID/task/*/schedstat` loses.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    processes: Vec<u32>,
}

/// An idle program uses less in one such span.
const QUIET: Duration = Duration::from_micros(200);
const QUIET_SPAN: Duration = Duration::from_millis(20);
/// Then a busy program is read all the same.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

impl Meter {
    /// With its present children.
    pub(crate) fn of(process: u32) -> Self {
        let mut processes = vec![process];
        let mut next = 0;
        while let Some(&parent) = processes.get(next) {
            processes.extend(children(parent));
            next += 1;
        }
        Self { processes }
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(|&process| cpu(process)).sum()
    }

    pub(crate) fn settled_cpu(&self) -> Result<Duration> {
        let (began, mut last) = (Instant::now(), self.cpu()?);
        loop {
            sleep(QUIET_SPAN);
            let now = self.cpu()?;
            if now - last < QUIET || began.elapsed() > QUIET_WITHIN {
                return Ok(now);
            }
            last = now;
        }
    }

    /// KiB written to, shared pages divided among their users; no file or kernel memory.
    pub(crate) fn memory_kib(&self) -> Result<f64> {
        self.processes.iter().map(|&process| memory_kib(process)).sum()
    }

    /// Once it changes by at most a thousandth in a second.
    pub(crate) fn settled_memory_kib(&self) -> Result<f64> {
        let mut last = self.memory_kib()?;
        for _ in 0..30 {
            sleep(Duration::from_secs(1));
            let now = self.memory_kib()?;
            if (now - last).abs() <= last / 1000.0 {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    pub(crate) fn processes(&self) -> &[u32] {
        &self.processes
    }
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn cpu(process: u32) -> Result<Duration> {
    let id = Pid::from_raw(i32::try_from(process)?);
    let time = clock_getcpuclockid(id).and_then(nix::time::ClockId::now);
    Ok(time.with_context(|| format!("process {process} has ended"))?.into())
}

fn memory_kib(process: u32) -> Result<f64> {
    let file = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| format!("process {process} has ended"))?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok())
            .with_context(|| format!("{name} in {file}"))
    };
    Ok(kib("Pss_Anon:")? + kib("Pss_Shmem:")?)
}

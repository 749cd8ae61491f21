//! The limit of open files, against the connections that deployments allow.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::{
    check::{Check, CheckKind},
    inspected_deployment::InspectedDeployment,
    running_process::RunningProcess,
};
use crate::file_limit;

/// Below, a few hundred devices take all: the default of shells is 1024.
const FILES_MIN: u64 = 4096;

/// The devices at once that all deployments allow together; 0: without a limit, or none.
pub(super) fn devices_wanted(deployments: &[InspectedDeployment]) -> u64 {
    let limits = deployments.iter().filter_map(|looked| looked.deployment.spec.limits.at_once);
    limits.map(|limit| u64::from(limit.get())).sum()
}

pub(super) fn check(process: Option<RunningProcess>, wanted: u64) -> Check {
    let running = process
        .and_then(|process| limit_of(&fs::read_to_string(format!("/proc/{}/limits", process.id)).ok()?));
    match running {
        Some(files) => judge(files, "the running certward", wanted),
        // `serve` raises its limit to the hard one.
        None => judge(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX), "this shell", wanted),
    }
}

/// The soft limit, of proc_pid_limits(5).
fn limit_of(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn judge(files: u64, whose: &str, wanted: u64) -> Check {
    let devices = file_limit::devices(files).finished;
    let sentence = match files {
        u64::MAX => format!("{whose} may open any number of files"),
        _ => format!("{whose} may open {files} files: {devices} devices at once"),
    };
    let fix = "set LimitNOFILE=1048576 in certward's unit (systemctl edit certward), or ulimit -Hn 1048576 before the start";
    if wanted > devices as u64 {
        let sentence = format!("{sentence}, and the deployments' limits allow {wanted}");
        Check::warning(CheckKind::OpenFiles, sentence, fix)
    } else if files < FILES_MIN {
        Check::warning(CheckKind::OpenFiles, sentence, fix)
    } else {
        Check::ok(CheckKind::OpenFiles, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_limit_is_judged_by_the_devices_it_leaves_room_for() {
        for (files, wanted, verdict, says) in [
            (1024, 0, Verdict::Warning, "1024 files: 248 devices"),
            (20_000, 0, Verdict::Ok, "20000 files: 9203 devices"),
            (20_000, 9_203, Verdict::Ok, "9203 devices"),
            (20_000, 9_204, Verdict::Warning, "the deployments' limits allow 9204"),
            (u64::MAX, 1_000_000, Verdict::Ok, "any number"),
        ] {
            let check = judge(files, "it", wanted);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.sentence.contains(says), "{check:?}");
        }
    }

    #[test]
    fn the_limit_of_a_process_is_its_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             1                    2                    processes\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(limit_of(limits), Some(1024));
        assert_eq!(limit_of("Max open files   unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!(limit_of(""), None);
        let own = RunningProcess { id: std::process::id() };
        assert!(check(Some(own), 0).sentence.starts_with("the running certward"));
    }
}

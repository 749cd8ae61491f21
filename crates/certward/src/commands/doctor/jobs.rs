//! Questions to the network, some at once, until a deadline.

use std::{collections::BTreeMap, pin::Pin};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::check::{Check, CheckKind};

/// Its future has a time limit of its own.
pub(super) struct NetworkQuestion {
    /// What is left out if the time is over.
    pub(super) about: String,
    pub(super) work: Pin<Box<dyn Future<Output = Vec<Check>> + Send>>,
}

/// Each holds a descriptor or a look-up's thread.
const AT_ONCE: usize = 64;

/// In the order of the jobs. Those that have not ended are counted.
pub(super) async fn run(jobs: Vec<NetworkQuestion>, until: Instant) -> Vec<Check> {
    let mut names = BTreeMap::new();
    let mut waiting = jobs.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut done = BTreeMap::new();
    let mut begin = |running: &mut JoinSet<_>, names: &mut BTreeMap<usize, String>| {
        let Some((at, NetworkQuestion { about, work })) = waiting.next() else { return false };
        names.insert(at, about);
        running.spawn(async move { (at, work.await) });
        true
    };
    while running.len() < AT_ONCE && begin(&mut running, &mut names) {}
    while let Ok(Some(ended)) = timeout_at(until, running.join_next()).await {
        if let Ok((at, checks)) = ended {
            names.remove(&at);
            done.insert(at, checks);
        }
        begin(&mut running, &mut names);
    }
    let not_begun = waiting.map(|(_, job)| job.about);
    let left_out: Vec<String> = names.into_values().chain(not_begun).collect();
    let mut checks: Vec<Check> = done.into_values().flatten().collect();
    if let Some(first) = left_out.first() {
        let others = match left_out.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} others"),
        };
        checks.push(Check::warning(
            CheckKind::LeftOut,
            format!("the time was over: {first}{others} were left out"),
            "certward doctor --deployment ID",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(number: usize, takes: Duration) -> NetworkQuestion {
        NetworkQuestion {
            about: format!("job {number}"),
            work: Box::pin(async move {
                tokio::time::sleep(takes).await;
                vec![Check::ok(CheckKind::Broker, format!("{number}"))]
            }),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_end_in_time_are_reported_in_order_and_the_others_are_counted() {
        let short = Duration::from_secs(1);
        let jobs = (0..200).map(|number| job(number, short * (1 + u32::from(number % 2 == 0)))).collect();
        let checks = run(jobs, Instant::now() + 20 * short).await;
        let numbers: Vec<_> = checks.iter().map(|check| check.sentence.parse::<usize>().unwrap()).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());

        let began = Instant::now();
        let jobs = (0..200).map(|number| job(number, 2 * short)).collect();
        let checks = run(jobs, began + 3 * short).await;
        assert_eq!(began.elapsed(), 3 * short);
        assert_eq!(checks.len(), AT_ONCE + 1);
        let last = &checks[AT_ONCE];
        assert_eq!(last.sentence, "the time was over: job 64 and 135 others were left out");
    }
}

//! The order of work: one job per deployment, changes first, retries with backoff.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use certward_store::DeploymentId;
use tokio::time::Instant;

use crate::sync::backoff;

/// Kept by an emptied table: more than a quiet hour needs.
pub(crate) const ROOM_AT_REST: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    jobs: HashMap<DeploymentId, Job>,
    /// To bring up to date.
    changes: BTreeSet<(Instant, DeploymentId)>,
    /// Up to date but not proven; after all changes.
    retries: BTreeSet<(Instant, DeploymentId)>,
    retrying: usize,
    /// When nothing else is due: repeated proofs at a start.
    background: VecDeque<DeploymentId>,
    in_background: HashSet<DeploymentId>,
}

/// Changes need not wait for slow retries.
const RETRIES_AT_ONCE: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobKind {
    Change,
    Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Unread,
    /// Up to date.
    Unproven,
    /// Up to date; sessions end at a rate, and it is looked at again after this time.
    Closing(Duration),
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Waiting { turn: JobKind, due: Instant, tries: u32 },
    Running { turn: JobKind, tries: u32, again: bool },
}

impl Schedule {
    /// Runs it as soon as possible; again, if it is running.
    pub(crate) fn want(&mut self, id: DeploymentId, now: Instant) {
        match self.jobs.get_mut(&id) {
            Some(Job::Running { again, .. }) => *again = true,
            Some(Job::Waiting { .. }) | None => self.wait_until(id, JobKind::Change, now, 0),
        }
    }

    pub(crate) fn want_some_time(&mut self, id: DeploymentId) {
        self.background.push_back(id);
    }

    /// Without the background.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &DeploymentId> {
        self.jobs.keys()
    }

    /// With its failure count.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(DeploymentId, u32)> {
        let is_due =
            |waiting: &BTreeSet<(Instant, DeploymentId)>| waiting.first().is_some_and(|(due, _)| *due <= now);
        let turn = if is_due(&self.changes) {
            JobKind::Change
        } else if self.may_retry() && is_due(&self.retries) {
            JobKind::Retry
        } else {
            return None;
        };
        let (_, id) = self.waiting(turn).pop_first()?;
        self.retrying += usize::from(turn == JobKind::Retry);
        let tries = match self.jobs.get(&id) {
            Some(Job::Waiting { tries, .. } | Job::Running { tries, .. }) => *tries,
            None => 0,
        };
        self.jobs.insert(id.clone(), Job::Running { turn, tries, again: false });
        Some((id, tries))
    }

    pub(crate) fn next_in_background(&mut self, at_once_max: usize) -> Option<DeploymentId> {
        while self.in_background.len() < at_once_max {
            let Some(id) = self.background.pop_front() else {
                self.background.shrink_to(ROOM_AT_REST);
                return None;
            };
            // It changed since, and is proven by its own job.
            if !self.jobs.contains_key(&id) {
                self.jobs.insert(id.clone(), Job::Running { turn: JobKind::Change, tries: 0, again: false });
                self.in_background.insert(id.clone());
                return Some(id);
            }
        }
        None
    }

    pub(crate) fn done(&mut self, id: DeploymentId, ended: Ended, now: Instant) {
        self.in_background.remove(&id);
        let (tries, again) = match self.jobs.remove(&id) {
            Some(Job::Running { turn, tries, again }) => {
                self.retrying -= usize::from(turn == JobKind::Retry);
                (tries, again)
            }
            Some(Job::Waiting { .. }) | None => (0, false),
        };
        let later = tries.saturating_add(1);
        let due = now + backoff::after(later);
        match ended {
            _ if again => self.wait_until(id, JobKind::Change, now, 0),
            Ended::Well => {}
            Ended::Unread => self.wait_until(id, JobKind::Change, due, later),
            Ended::Closing(after) => self.wait_until(id, JobKind::Retry, now + after, 0),
            Ended::Unproven => self.wait_until(id, JobKind::Retry, due, later),
        }
        if self.jobs.is_empty() {
            self.jobs.shrink_to(ROOM_AT_REST);
        }
    }

    /// Retries are due now: the cause may be over.
    pub(crate) fn hasten(&mut self, now: Instant) {
        let waits = |(id, job): (&DeploymentId, &Job)| match job {
            Job::Waiting { turn, due, tries } if *due > now => Some((id.clone(), *turn, *tries)),
            Job::Waiting { .. } | Job::Running { .. } => None,
        };
        let waiting: Vec<_> = self.jobs.iter().filter_map(waits).collect();
        for (id, turn, tries) in waiting {
            self.wait_until(id, turn, now, tries);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len() + self.background.len()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        let retry = self.retries.first().filter(|_| self.may_retry());
        self.changes.first().into_iter().chain(retry).map(|(due, _)| *due).min()
    }

    fn may_retry(&self) -> bool {
        self.retrying < RETRIES_AT_ONCE
    }

    fn waiting(&mut self, turn: JobKind) -> &mut BTreeSet<(Instant, DeploymentId)> {
        match turn {
            JobKind::Change => &mut self.changes,
            JobKind::Retry => &mut self.retries,
        }
    }

    fn wait_until(&mut self, id: DeploymentId, turn: JobKind, due: Instant, tries: u32) {
        if let Some(Job::Waiting { turn, due, .. }) = self.jobs.get(&id).copied() {
            self.waiting(turn).remove(&(due, id.clone()));
        }
        self.jobs.insert(id.clone(), Job::Waiting { turn, due, tries });
        self.waiting(turn).insert((due, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_deployment_that_changes_while_it_is_worked_on_is_worked_on_once_more() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.want(id("a"), now);
        schedule.want(id("a"), now);
        assert_eq!(schedule.next(now), Some((id("a"), 0)));
        assert_eq!(schedule.next(now), None, "never twice at once");
        schedule.want(id("a"), now);
        assert_eq!(schedule.next(now), None);
        schedule.done(id("a"), Ended::Well, now);
        assert_eq!(schedule.next(now), Some((id("a"), 0)));
        schedule.done(id("a"), Ended::Well, now);
        assert_eq!(schedule.next(now), None);
        assert!(schedule.jobs.is_empty());
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_later_and_a_change_at_once() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.want(id("a"), now);
        schedule.next(now);
        schedule.done(id("a"), Ended::Unproven, now);
        assert_eq!(schedule.next(now), None);
        assert_eq!(schedule.next_due(), Some(now + backoff::after(1)));
        assert_eq!(schedule.next(now + backoff::after(1)), Some((id("a"), 1)));
        schedule.done(id("a"), Ended::Unproven, now);
        assert_eq!(schedule.next_due(), Some(now + backoff::after(2)));
        schedule.want(id("a"), now);
        assert_eq!(schedule.next(now), Some((id("a"), 0)));
        assert_eq!(schedule.next_due(), None, "the later try is dropped");
    }

    #[tokio::test]
    async fn what_failed_is_due_at_once_when_the_store_answers_again() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for (name, ended) in [("unread", Ended::Unread), ("unproven", Ended::Unproven)] {
            schedule.want(id(name), now);
            schedule.next(now);
            schedule.done(id(name), ended, now);
        }
        assert_eq!(schedule.next(now), None);
        schedule.hasten(now);
        let due = [schedule.next(now), schedule.next(now), schedule.next(now)];
        assert_eq!(due, [Some((id("unread"), 1)), Some((id("unproven"), 1)), None]);
        assert!(schedule.changes.is_empty() && schedule.retries.is_empty());
    }

    #[tokio::test]
    async fn a_change_comes_before_whatever_is_tried_again() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let failing: Vec<_> = (0..2 * RETRIES_AT_ONCE).map(|n| id(&format!("failing-{n}"))).collect();
        for failing in &failing {
            schedule.want(failing.clone(), now);
            schedule.next(now);
            schedule.done(failing.clone(), Ended::Unproven, now);
        }
        let later = now + backoff::after(1);
        let retries: Vec<_> = std::iter::from_fn(|| schedule.next(later)).collect();
        assert_eq!(retries.len(), RETRIES_AT_ONCE);
        assert_eq!(schedule.next_due(), None, "nothing is to be waited for but their ends");
        let changed = later + Duration::from_secs(1);
        schedule.want(id("changed"), changed);
        assert_eq!(schedule.next(changed), Some((id("changed"), 0)));
        let (ended, _) = retries[0].clone();
        schedule.done(ended, Ended::Well, changed);
        schedule.want(id("changed-too"), changed);
        assert_eq!(schedule.next(changed), Some((id("changed-too"), 0)), "and after it one of the others");
        assert_eq!(schedule.next(changed).map(|(_, tries)| tries), Some(1));
        assert_eq!(schedule.next(changed), None);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_a_change_still_and_hides_nothing_that_is_due() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let later = now + Duration::from_millis(1);
        for (name, at, ended) in [("unproven", now, Ended::Unproven), ("unread", later, Ended::Unread)] {
            schedule.want(id(name), at);
            schedule.next(at);
            schedule.done(id(name), ended, at);
        }
        assert_eq!(schedule.next_due(), Some(now + backoff::after(1)));
        assert_eq!(schedule.next(now + backoff::after(1)), Some((id("unproven"), 1)));
        assert_eq!(schedule.next(later + backoff::after(1)), Some((id("unread"), 1)));
        schedule.done(id("unread"), Ended::Well, later);
        schedule.done(id("unproven"), Ended::Well, later);
        assert_eq!((schedule.retrying, schedule.next_due()), (0, None));
    }

    #[tokio::test]
    async fn what_is_done_in_the_background_is_few_at_once_and_left_out_when_it_changed() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for name in ["a", "b", "c"] {
            schedule.want_some_time(id(name));
        }
        schedule.want(id("a"), now);
        assert_eq!(schedule.next_in_background(1), Some(id("b")));
        assert_eq!(schedule.next_in_background(1), None);
        schedule.done(id("b"), Ended::Well, now);
        assert_eq!(schedule.next_in_background(1), Some(id("c")));
    }
}

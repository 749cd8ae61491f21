//! The newest failed handshakes of each deployment, for the operator who asks why a device does not get in.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use certward_lifecycle::FailedHandshake;
use certward_store::{DeploymentId, Timestamp};

use crate::observe::cause::Cause;

/// At most 440 bytes each with the longest name: a deployment under attack holds 22 KiB, and all together 22 MiB.
const KEPT_PER_DEPLOYMENT: usize = 50;
/// The deployments with the newest failures; older ones are forgotten.
const DEPLOYMENTS_MAX: usize = 1_000;
/// How many are forgotten at once, so that it is seldom looked for them.
const FORGOTTEN_AT_ONCE: usize = DEPLOYMENTS_MAX / 10;

/// What was seen of a handshake before it failed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whose it is.
    pub(crate) deployment: Option<DeploymentId>,
    /// The name that the device sent: a DNS name, so letters, digits, `-`, `_` and `.`, at most 253 of them.
    pub(crate) server_name: Option<Box<str>>,
    /// The version that was agreed on.
    pub(crate) tls_version: Option<&'static str>,
    /// What came, where the cause alone does not say it.
    pub(crate) detail: Option<Box<str>>,
}

/// The bounded list.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    of: HashMap<DeploymentId, List>,
    /// Failures so far, by which the newest ones are known.
    noted: u64,
}

#[derive(Debug, Default)]
struct List {
    /// Newest first.
    failures: VecDeque<FailedHandshake>,
    /// The number of the newest.
    newest: u64,
}

impl Failures {
    pub(crate) fn note(&self, id: &DeploymentId, at: Timestamp, peer: SocketAddr, cause: Cause, seen: &Seen) {
        let failure = FailedHandshake {
            at,
            peer,
            cause: cause.as_str(),
            meaning: cause.meaning(),
            remedy: cause.remedy(),
            server_name: seen.server_name.clone(),
            tls_version: seen.tls_version,
            detail: seen.detail.clone(),
        };
        let mut lists = self.lists();
        let list = lists.next(id);
        list.failures.truncate(KEPT_PER_DEPLOYMENT - 1);
        list.failures.push_front(failure);
    }

    /// Newest first.
    pub(crate) fn newest(&self, id: &DeploymentId) -> Vec<FailedHandshake> {
        self.lists().of.get(id).map(|list| list.failures.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn forget(&self, id: &DeploymentId) {
        self.lists().of.remove(id);
    }

    /// Of how many deployments something is kept.
    pub(crate) fn deployments(&self) -> usize {
        self.lists().of.len()
    }

    // Nothing that holds the lock can panic half-way through a change.
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// The deployment's list, to which the newest failure of all is added.
    fn next(&mut self, id: &DeploymentId) -> &mut List {
        if self.of.len() >= DEPLOYMENTS_MAX && !self.of.contains_key(id) {
            let mut newest: Vec<u64> = self.of.values().map(|list| list.newest).collect();
            let (_, last_forgotten, _) = newest.select_nth_unstable(FORGOTTEN_AT_ONCE - 1);
            self.of.retain(|_, list| list.newest > *last_forgotten);
        }
        self.noted += 1;
        let list = self.of.entry(id.clone()).or_default();
        list.newest = self.noted;
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_failures_are_kept_newest_first_and_no_more() {
        let failures = Failures::default();
        let id = DeploymentId::parse("d").unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        for at in 0..200 {
            failures.note(&id, Timestamp(at), peer, Cause::Timeout, &Seen::default());
        }
        let newest = failures.newest(&id);
        assert_eq!(newest.len(), KEPT_PER_DEPLOYMENT);
        assert_eq!((newest[0].at, newest[0].cause), (Timestamp(199), "timeout"));
        failures.forget(&id);
        assert!(failures.newest(&id).is_empty());
    }

    #[test]
    fn of_many_deployments_those_with_the_newest_failures_are_kept() {
        let failures = Failures::default();
        let id = |number: usize| DeploymentId::parse(&format!("d{number}")).unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let note = |number| failures.note(&id(number), Timestamp(0), peer, Cause::Timeout, &Seen::default());
        for number in 0..10 * DEPLOYMENTS_MAX {
            note(number);
            // One that fails again and again.
            note(0);
            assert!(failures.deployments() <= DEPLOYMENTS_MAX);
        }
        let last = 10 * DEPLOYMENTS_MAX - 1;
        let kept = DEPLOYMENTS_MAX - FORGOTTEN_AT_ONCE;
        for number in (last - kept + 2..=last).chain([0]) {
            assert!(!failures.newest(&id(number)).is_empty(), "{number}");
        }
    }
}

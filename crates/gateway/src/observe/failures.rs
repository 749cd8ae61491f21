//! The newest failed handshakes of each deployment.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use certward_lifecycle::{FAILURES_KEPT, FailedHandshake};
use certward_pki::ClientCertificate;
use certward_store::{DeploymentId, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use crate::observe::cause::Cause;

/// With [`FAILURES_KEPT`] of 1.3 KiB each at most, with the names of a client certificate: 65 KiB
/// per deployment, 64 MiB in total. Keeps those with the newest failures.
const DEPLOYMENTS_MAX: usize = 1_000;
/// Evicted together, so that the search is rare.
const EVICTED_AT_ONCE: usize = DEPLOYMENTS_MAX / 10;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) deployment: Option<DeploymentId>,
    /// A DNS name: at most 253 letters, digits, `-`, `_`, `.`.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) tls_version: Option<&'static str>,
    /// What was received, if the cause does not say.
    pub(crate) detail: Option<Box<str>>,
    pub(crate) client_certificate: Option<Box<ClientCertificate>>,
}

#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    of: HashMap<DeploymentId, List>,
    /// Failures so far; orders the lists.
    noted: u64,
}

#[derive(Debug, Default)]
struct List {
    failures: VecDeque<Failure>,
    newest: u64,
}

/// A [`FailedHandshake`], without the texts of its cause.
#[derive(Debug)]
struct Failure {
    at: Timestamp,
    peer: SocketAddr,
    cause: Cause,
    server_name: Option<Box<str>>,
    tls_version: Option<&'static str>,
    detail: Option<Box<str>>,
    client_certificate: Option<Box<ClientCertificate>>,
}

impl Failures {
    pub(crate) fn note(&self, id: &DeploymentId, at: Timestamp, peer: SocketAddr, cause: Cause, seen: &Seen) {
        let failure = Failure {
            at,
            peer,
            cause,
            server_name: seen.server_name.clone(),
            tls_version: seen.tls_version,
            detail: seen.detail.clone(),
            client_certificate: seen.client_certificate.clone(),
        };
        let mut lists = self.lists();
        let list = lists.next(id);
        list.failures.truncate(FAILURES_KEPT - 1);
        list.failures.push_front(failure);
    }

    /// Newest first.
    pub(crate) fn all(&self, id: &DeploymentId) -> Vec<FailedHandshake> {
        self.lists()
            .of
            .get(id)
            .map(|list| list.failures.iter().map(Failure::shown).collect())
            .unwrap_or_default()
    }

    pub(crate) fn newest(&self, id: &DeploymentId) -> Option<FailedHandshake> {
        self.lists().of.get(id)?.failures.front().map(Failure::shown)
    }

    pub(crate) fn forget(&self, id: &DeploymentId) {
        self.lists().of.remove(id);
    }

    pub(crate) fn deployments(&self) -> usize {
        self.lists().of.len()
    }

    // No holder of the lock can panic halfway through a change.
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock()
    }
}

impl Failure {
    fn shown(&self) -> FailedHandshake {
        FailedHandshake {
            at: self.at,
            peer: self.peer,
            cause: self.cause.as_str().into(),
            meaning: self.cause.meaning().into(),
            remedy: self.cause.remedy().into(),
            server_name: self.server_name.clone(),
            tls_version: self.tls_version.map(Into::into),
            detail: self.detail.clone(),
            client_certificate: self.client_certificate.clone(),
        }
    }
}

impl Lists {
    /// Numbered as the newest.
    fn next(&mut self, id: &DeploymentId) -> &mut List {
        if self.of.len() >= DEPLOYMENTS_MAX && !self.of.contains_key(id) {
            let mut newest: Vec<u64> = self.of.values().map(|list| list.newest).collect();
            let (_, last_evicted, _) = newest.select_nth_unstable(EVICTED_AT_ONCE - 1);
            self.of.retain(|_, list| list.newest > *last_evicted);
        }
        self.noted += 1;
        let list = self.of.entry(id.clone()).or_default();
        list.newest = self.noted;
        list
    }
}

#[cfg(test)]
mod tests {
    use certward_pki::{ClientCertificateFacts, NeededCa};
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn the_newest_failures_are_kept_newest_first_and_no_more() {
        let failures = Failures::default();
        let id = DeploymentId::parse("d").unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        for at in 0..200 {
            failures.note(&id, Timestamp(at), peer, Cause::Timeout, &Seen::default());
        }
        let newest = failures.all(&id);
        assert_eq!(newest.len(), FAILURES_KEPT);
        assert_eq!((newest[0].at, &*newest[0].cause), (Timestamp(199), "timeout"));
        assert_eq!(failures.newest(&id).map(|failure| failure.at), Some(Timestamp(199)));
        failures.forget(&id);
        assert!(failures.all(&id).is_empty());
    }

    /// As monitoring.md states it.
    #[test]
    fn the_largest_failures_fit_the_documented_memory() {
        const BYTES_MAX: usize = 64 << 20;
        let text = |bytes: usize| -> Box<str> { "x".repeat(bytes).into() };
        let facts = ClientCertificateFacts {
            subject: text(160),
            issuer: text(160),
            serial: text(43),
            not_after: OffsetDateTime::UNIX_EPOCH,
        };
        let needed_ca = NeededCa { name: text(160), is_name_known: false };
        let certificate =
            ClientCertificate { fingerprint: text(64), facts: Some(facts), needed_ca: Some(needed_ca) };
        // Two words of the allocator each, and blocks of 16 bytes.
        let heap = |bytes: usize| (bytes + 2 * size_of::<usize>()).next_multiple_of(16);
        let texts = [160, 160, 43, 160, 64, 253, 64].map(heap);
        let each = texts.iter().sum::<usize>() + heap(size_of_val(&certificate));
        let failures = Failures::default();
        let id = DeploymentId::parse("d").unwrap();
        let seen = Seen {
            server_name: Some(text(253)),
            detail: Some(text(64)),
            client_certificate: Some(certificate.into()),
            ..Seen::default()
        };
        for at in 0..200 {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            failures.note(&id, Timestamp(at), peer, Cause::Protocol, &seen);
        }
        let slots = failures.lists().of[&id].failures.capacity();
        let list = slots * size_of::<Failure>() + FAILURES_KEPT * each;
        assert!(list * DEPLOYMENTS_MAX <= BYTES_MAX, "{list}");
    }

    #[test]
    fn of_many_deployments_those_with_the_newest_failures_are_kept() {
        let failures = Failures::default();
        let id = |number: usize| DeploymentId::parse(&format!("d{number}")).unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let note = |number| failures.note(&id(number), Timestamp(0), peer, Cause::Timeout, &Seen::default());
        for number in 0..10 * DEPLOYMENTS_MAX {
            note(number);
            note(0);
            assert!(failures.deployments() <= DEPLOYMENTS_MAX);
        }
        let last = 10 * DEPLOYMENTS_MAX - 1;
        let kept = DEPLOYMENTS_MAX - EVICTED_AT_ONCE;
        for number in (last - kept + 2..=last).chain([0]) {
            assert!(!failures.all(&id(number)).is_empty(), "{number}");
        }
    }
}

//! The newest failed handshakes of each deployment, for the operator who asks why a device does not get in.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use certward_lifecycle::FailedHandshake;
use certward_store::{DeploymentId, Timestamp};
use moka::{policy::EvictionPolicy, sync::Cache};

use crate::cause::Cause;

/// At most 360 bytes each with the longest name: a deployment under attack holds 18 KiB, and all together 18 MiB.
const KEPT_PER_DEPLOYMENT: usize = 50;
/// The deployments with the newest failures; older ones are forgotten.
const DEPLOYMENTS_MAX: u64 = 1_000;

/// What was seen of a handshake before it failed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whose it is.
    pub(crate) deployment: Option<DeploymentId>,
    /// The name that the device sent: a DNS name, so letters, digits, `-`, `_` and `.`, at most 253 of them.
    pub(crate) server_name: Option<Box<str>>,
    /// The version that was agreed on.
    pub(crate) tls_version: Option<&'static str>,
}

/// The bounded list.
#[derive(Debug)]
pub(crate) struct Failures(Cache<DeploymentId, Arc<Mutex<VecDeque<FailedHandshake>>>>);

impl Default for Failures {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(DEPLOYMENTS_MAX).eviction_policy(EvictionPolicy::lru());
        Self(cache.build())
    }
}

impl Failures {
    pub(crate) fn note(&self, id: &DeploymentId, at: Timestamp, peer: SocketAddr, cause: Cause, seen: &Seen) {
        let list = self.0.get_with_by_ref(id, Arc::default);
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        list.truncate(KEPT_PER_DEPLOYMENT - 1);
        list.push_front(FailedHandshake {
            at,
            peer,
            cause: cause.as_str(),
            meaning: cause.meaning(),
            remedy: cause.remedy(),
            server_name: seen.server_name.clone(),
            tls_version: seen.tls_version,
        });
    }

    /// Newest first.
    pub(crate) fn newest(&self, id: &DeploymentId) -> Vec<FailedHandshake> {
        let Some(list) = self.0.get(id) else { return Vec::new() };
        list.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn forget(&self, id: &DeploymentId) {
        self.0.invalidate(id);
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
}

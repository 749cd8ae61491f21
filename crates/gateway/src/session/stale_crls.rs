//! When CRLs that must be current go stale while clients are connected.

use std::{collections::HashMap, sync::Arc};

use certward_store::{DeploymentId, Timestamp};
use parking_lot::Mutex;

use crate::{config::deployment_revocations::DeploymentRevocations, session::registry::Registry};

/// Of a deployment with sessions and such CRLs. Nothing is verified before the first end.
#[derive(Debug, Default)]
pub(crate) struct StaleCrls(Mutex<HashMap<DeploymentId, CrlEnds>>);

#[derive(Debug)]
struct CrlEnds {
    /// The last second in which each is current, since 1970.
    ends: Arc<[i64]>,
    /// Ends before were acted on.
    acted_on: i64,
}

/// A session verified itself less before it is noted: the handshake, and what waits for it.
const VERIFIED_BEFORE: i64 = 60;

impl StaleCrls {
    /// Of a session that is registered, and was verified by these.
    pub(crate) fn note(
        &self,
        deployment: &DeploymentId,
        revocations: Option<&DeploymentRevocations>,
        now: Timestamp,
    ) {
        let Some(ends) = ends(revocations) else { return };
        let acted_on = seconds(now) - VERIFIED_BEFORE;
        // What a change brought stays: this session may have begun before it.
        self.0.lock().entry(deployment.clone()).or_insert(CrlEnds { ends, acted_on });
    }

    /// A change is carried out.
    pub(crate) fn follow(
        &self,
        deployment: &DeploymentId,
        revocations: Option<&DeploymentRevocations>,
        now: Timestamp,
    ) {
        let mut followed = self.0.lock();
        match ends(revocations) {
            None => drop(followed.remove(deployment)),
            Some(ends) => {
                let acted_on = seconds(now) - VERIFIED_BEFORE;
                followed.insert(deployment.clone(), CrlEnds { ends, acted_on });
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Drops deployments without sessions.
    pub(crate) fn sweep(&self, registry: &Registry) {
        self.0.lock().retain(|deployment, _| registry.count(deployment) > 0);
    }

    /// Has the sessions of deployments whose CRLs went stale verify themselves. Call it every
    /// second.
    pub(crate) async fn verify_stale(&self, registry: &Registry, now: Timestamp) {
        let now = seconds(now);
        let due: Vec<_> = {
            let mut followed = self.0.lock();
            let due = followed.iter_mut().filter_map(|(id, ends)| ends.act(now).then(|| id.clone()));
            due.collect()
        };
        for deployment in due {
            registry.verify_clients(&deployment).await;
        }
    }
}

impl CrlEnds {
    fn act(&mut self, now: i64) -> bool {
        let is_due = self.ends.iter().any(|end| (self.acted_on..now).contains(end));
        self.acted_on = self.acted_on.max(now);
        is_due
    }
}

fn ends(revocations: Option<&DeploymentRevocations>) -> Option<Arc<[i64]>> {
    let ends = revocations?.hard_ends();
    (!ends.is_empty()).then(|| Arc::clone(ends))
}

fn seconds(now: Timestamp) -> i64 {
    now.to_time().unix_timestamp()
}

//! Fetches the CRLs that are due.
//!
//! One node fetches for all: it claims a CRL by moving its time on, and what it finds counts only
//! while the claim stands. A CRL that cannot be fetched, or is refused, leaves the last good one in
//! service. Another CRL draws a generation; an unmodified one changes nothing for nodes.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use certward_store::{CrlId, DeploymentId, DueCrl, ProjectId, StoreError, Timestamp};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::{
    Lifecycle,
    claimed_crl::{ClaimedCrl, FetchEnd},
};

/// Each holds up to three times 16 MiB: what was sent, its DER, and the CRL in service.
const FETCHED_AT_ONCE: usize = 4;
/// Longer than a fetch (30 s), the judgement and the change take.
const CLAIMED_FOR: Duration = Duration::from_secs(3 * 60);
/// Between two lines about one CRL that keeps failing.
const LOG_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Fetches CRLs; of one node.
#[derive(Debug, Clone)]
pub struct CrlRenewal {
    lifecycle: Lifecycle,
    /// When a failure was last logged: those of the last hour.
    logged: Arc<Mutex<HashMap<(DeploymentId, CrlId), Timestamp>>>,
}

/// How many fetches led to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenewedCrls {
    /// The CRL in service is the server's.
    pub unmodified: u64,
    /// Another one is in service.
    pub replaced: u64,
    /// Not fetched, or refused.
    pub failed: u64,
}

impl Lifecycle {
    /// Fetches CRLs.
    pub fn crl_renewal(&self) -> CrlRenewal {
        CrlRenewal { lifecycle: self.clone(), logged: Arc::default() }
    }
}

impl CrlRenewal {
    /// Fetches what is due. The first error of the store, once all that was begun has ended.
    pub async fn turn(&self) -> Result<RenewedCrls, StoreError> {
        let (mut done, mut failed, mut fetches) = (RenewedCrls::default(), Ok(()), JoinSet::new());
        // Another node may be able to fetch.
        if !self.lifecycle.may_fetch_crls() {
            return Ok(done);
        }
        // One at a time of a project: its servers may be slow, and hold up no other's CRLs.
        let mut busy = Vec::new();
        loop {
            while failed.is_ok() && fetches.len() < FETCHED_AT_ONCE {
                match self.claim(&busy).await {
                    Ok(Some((due, until))) => {
                        let (renewal, project) = (self.clone(), due.deployment.project.clone());
                        busy.push(project.clone());
                        fetches.spawn(async move { (project, renewal.renew(due, until).await) })
                    }
                    Ok(None) => break,
                    Err(error) => {
                        failed = Err(error);
                        break;
                    }
                };
            }
            match fetches.join_next().await {
                None => return failed.map(|()| done),
                Some(Ok((project, outcome))) => {
                    busy.retain(|there| *there != project);
                    match outcome {
                        Ok(end) => end.iter().for_each(|end| done.count(end)),
                        Err(error) => failed = failed.and(Err(error)),
                    }
                }
                // A panic is logged, and the claim runs out.
                Some(Err(_)) => {}
            }
        }
    }

    async fn claim(&self, busy: &[ProjectId]) -> Result<Option<(DueCrl, Timestamp)>, StoreError> {
        let store = self.lifecycle.store();
        let now = store.now().await?;
        let until = now.after(CLAIMED_FOR);
        Ok(store.claim_crl_fetch(now, until, busy).await?.map(|due| (due, until)))
    }

    /// `None`: the CRL was set again or removed in between, or the claim ran out.
    async fn renew(self, due: DueCrl, until: Timestamp) -> Result<Option<FetchEnd>, StoreError> {
        let Some(fetching) = &due.crl.fetching else { return Ok(None) };
        let claimed = ClaimedCrl { lifecycle: &self.lifecycle, due: &due, until };
        let end = claimed.record(claimed.fetch(fetching).await?).await?;
        if let Some(end) = &end {
            self.say(&due, fetching.failure.is_some(), end);
        }
        Ok(end)
    }

    /// The first failure of a series, then one an hour.
    fn say(&self, due: &DueCrl, was_failing: bool, end: &FetchEnd) {
        let (deployment, crl) = (&due.deployment.id, &due.crl.id);
        let (key, now) = ((deployment.clone(), crl.clone()), self.lifecycle.store().clock().now());
        let mut logged = self.logged.lock();
        logged.retain(|_, at| now.since(*at) < LOG_PAUSE);
        if !matches!(end, FetchEnd::Failed(_)) {
            logged.remove(&key);
        }
        match end {
            FetchEnd::Failed(unfetched) => {
                if let Entry::Vacant(vacant) = logged.entry(key) {
                    vacant.insert(now);
                    let reason = &unfetched.sentence;
                    tracing::warn!(
                        deployment.id = %deployment,
                        %crl,
                        "a CRL is not renewed: {reason}; the last good one stays in service"
                    );
                }
            }
            FetchEnd::Replaced(new) => {
                let entries = new.crl.entries;
                tracing::info!(deployment.id = %deployment, %crl, entries, "another CRL is fetched");
            }
            FetchEnd::Unmodified(_) if was_failing => {
                tracing::info!(deployment.id = %deployment, %crl, "a CRL can be fetched again");
            }
            FetchEnd::Unmodified(_) => {}
        }
    }
}

impl RenewedCrls {
    fn count(&mut self, end: &FetchEnd) {
        match end {
            FetchEnd::Unmodified(_) => self.unmodified += 1,
            FetchEnd::Replaced(..) => self.replaced += 1,
            FetchEnd::Failed(_) => self.failed += 1,
        }
    }
}

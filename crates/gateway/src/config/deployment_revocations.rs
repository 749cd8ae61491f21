//! A deployment's deny-list and CRLs as this node has them in memory: read when the deployment's
//! mark says that they differ from those before, and then only what is new.

use std::sync::Arc;

use certward_pki::{DenyList, DeviceIdentity, Revocations};
use certward_store::{Deployment, KnownRevocations, Reader, RevocationChange, RevocationMark, StoreError};
use tokio::task::spawn_blocking;

/// Immutable, and as of one mark. Shared by the configurations that it was not changed between.
#[derive(Debug)]
pub(crate) struct DeploymentRevocations {
    mark: RevocationMark,
    known: KnownRevocations,
    /// What names are compared with: the identity that the broker is told.
    identity: DeviceIdentity,
    denied: Arc<DenyList>,
    hard_ends: Arc<[i64]>,
    revocations: Revocations,
}

impl DeploymentRevocations {
    /// In the snapshot of `deployment`. `None`: there are none, and nothing was read.
    ///
    /// # Errors
    /// The deployment must not be served without them.
    pub(crate) async fn read(
        reader: &Reader,
        deployment: &Deployment,
        before: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, StoreError> {
        let (mark, identity) = (deployment.revocations, deployment.spec.proxy.identity);
        match before {
            _ if mark.is_empty() => return Ok(None),
            Some(before) if before.mark == mark && before.identity == identity => {
                return Ok(Some(Arc::clone(before)));
            }
            _ => {}
        }
        let (change, known) = reader.revocations_since(deployment, before.map(|before| before.known)).await?;
        let denied = denied(change, before.map(|before| Arc::clone(&before.denied))).await;
        let revocations = Revocations::new(identity, Arc::clone(&denied));
        Ok(Some(Arc::new(Self { mark, known, identity, denied, hard_ends: Arc::new([]), revocations })))
    }

    pub(crate) fn get(&self) -> &Revocations {
        &self.revocations
    }

    pub(crate) fn identity(&self) -> DeviceIdentity {
        self.identity
    }

    /// The last seconds in which those of its CRLs that must be current are, since 1970.
    pub(crate) fn hard_ends(&self) -> &Arc<[i64]> {
        &self.hard_ends
    }

    /// Another value: other CRLs.
    pub(crate) fn crl_mark(&self) -> RevocationMark {
        RevocationMark::default()
    }
}

/// 100,000 entries take milliseconds to copy.
async fn denied(change: RevocationChange, before: Option<Arc<DenyList>>) -> Arc<DenyList> {
    let made = spawn_blocking(move || match (change, before) {
        (RevocationChange::All(keys), _) => Arc::new(keys.into_iter().collect()),
        (RevocationChange::Added(keys), Some(before)) if keys.is_empty() => before,
        (RevocationChange::Added(keys), before) => {
            let mut list = before.map(|before| DenyList::clone(&before)).unwrap_or_default();
            list.extend(keys);
            Arc::new(list)
        }
    });
    made.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

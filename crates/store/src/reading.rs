use std::{fmt, sync::Arc};

use certward_pki::PrivateKey;
use sqlx::{Any, Transaction};
use tokio::sync::Mutex;

use crate::{
    Boundaries, Deployment, DeploymentId, FeedPosition, Records, Stamp, StoreError, Version, VersionId,
    engine::pool::step,
    repo::{
        boundary, deployment,
        feed::{self, Ancestry},
        version,
    },
    sealed::sealing::Sealer,
};

/// A snapshot of the store, or of a replica.
pub struct Reading {
    transaction: Mutex<Transaction<'static, Any>>,
    sealer: Arc<Sealer>,
    as_of: FeedPosition,
    continues: bool,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("as_of", &self.as_of).finish_non_exhaustive()
    }
}

impl Reading {
    /// `held`: the newest position of what the reader already holds.
    pub(crate) async fn begin(
        mut transaction: Transaction<'static, Any>,
        sealer: Arc<Sealer>,
        held: FeedPosition,
    ) -> Result<Self, StoreError> {
        let (as_of, ancestry) = step(async {
            let newest = feed::newest_position(&mut transaction).await?;
            Ok((newest, feed::ancestry(&mut transaction, held).await?))
        })
        .await?;
        let continues = ancestry != Ancestry::Foreign;
        Ok(Self { transaction: Mutex::new(transaction), sealer, as_of, continues })
    }

    pub(crate) fn of_replica(transaction: Transaction<'static, Any>, sealer: Arc<Sealer>) -> Self {
        let as_of = FeedPosition::START;
        Self { transaction: Mutex::new(transaction), sealer, as_of, continues: true }
    }

    /// The boundaries of all projects; `None` if still those of `known`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn boundaries(&self, known: Option<Stamp>) -> Result<Option<Boundaries>, StoreError> {
        step(boundary::unless_known(&mut **self.transaction.lock().await, known)).await
    }

    /// The newest feed row of the snapshot.
    pub fn as_of(&self) -> FeedPosition {
        self.as_of
    }

    /// As [`Reading::continues`], for a later `held`, which must not be newer than the snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn continues_from(&self, held: FeedPosition) -> Result<bool, StoreError> {
        let mut transaction = self.transaction.lock().await;
        Ok(step(feed::ancestry(&mut transaction, held)).await? != Ancestry::Foreign)
    }

    /// Whether the store's history continues from what the reader holds. If not, the two must not
    /// be mixed.
    pub fn continues(&self) -> bool {
        self.continues
    }
}

impl Records for Reading {
    async fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        step(deployment::find(&mut **self.transaction.lock().await, id)).await
    }

    async fn version(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        step(version::find(&mut **self.transaction.lock().await, deployment, version)).await
    }

    async fn last_proven_version(
        &self,
        deployment: &DeploymentId,
        before: VersionId,
    ) -> Result<Option<Version>, StoreError> {
        step(version::last_proven(&mut **self.transaction.lock().await, deployment, before)).await
    }

    async fn private_key(
        &self,
        deployment: &DeploymentId,
        version: VersionId,
    ) -> Result<Option<PrivateKey>, StoreError> {
        let mut transaction = self.transaction.lock().await;
        step(version::private_key(&mut transaction, &self.sealer, deployment, version)).await
    }
}

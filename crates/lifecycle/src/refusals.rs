use certward_store::{AuditEntry, StoreError};

use crate::Lifecycle;

impl Lifecycle {
    /// Records refused changes, in a transaction of its own. Durable on return. What names a
    /// deployment that exists is of its project.
    pub async fn record_refusals(&self, mut refusals: Vec<AuditEntry>) -> Result<(), StoreError> {
        // Before the transaction, which holds a connection.
        for refusal in &mut refusals {
            if let Some(id) = &refusal.deployment {
                let found = self.store.read().deployment(id).await?;
                refusal.project = found.map(|deployment| deployment.project);
            }
        }
        let mut tx = self.store.begin().await?;
        refusals.into_iter().for_each(|refusal| tx.audit(refusal));
        tx.commit().await
    }
}

use certward_pki::{Material, describe, fingerprint};
use certward_store::{ApiKey, Deployment, Scope, StoppedChange};

use super::{stopped_impact::StoppedImpact, verdict::Impact};
use crate::{Lifecycle, TlsError, acting::Acting};

impl Lifecycle {
    /// Records an alert that a strict change to `material` was refused, once for each deployment
    /// and leaf.
    pub(crate) async fn record_stopped_change(
        &self,
        actor: &ApiKey,
        compared: &Deployment,
        material: &Material,
        impact: &Impact,
    ) -> Result<(), TlsError> {
        let (id, leaf) = (&compared.id, material.bundle.leaf());
        let fingerprint = fingerprint(leaf);
        // A script that tries again every day costs no transaction.
        if self.store.read().has_stopped_change(&compared.project, id, &fingerprint).await? {
            return Ok(());
        }
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let found = acting.deployment(&compared.reference()).await?;
        // This very leaf may have been accepted since.
        if found.is_none_or(|found| found.tls.version() != compared.tls.version()) {
            return Ok(());
        }
        let Acting { mut tx, .. } = acting;
        let stopped = StoppedChange {
            deployment: id.clone(),
            project: compared.project.clone(),
            subject: describe(leaf).map(|facts| facts.subject).unwrap_or_default(),
            // Fails for maps with other keys than text only.
            detail: serde_json::to_string(&StoppedImpact::from(impact)).unwrap_or_default(),
            leaf: fingerprint,
        };
        let recorded = tx.record_stopped_change(&stopped).await?;
        tx.commit().await?;
        if recorded.is_some() {
            let (sha256, reasons) = (&stopped.leaf, impact.severe_reasons().join("; "));
            tracing::warn!(
                deployment.id = %id,
                certificate.sha256 = sha256,
                "a change was stopped for its impact on devices: {reasons}"
            );
        }
        Ok(())
    }
}

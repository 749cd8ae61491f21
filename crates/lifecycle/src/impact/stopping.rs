use std::collections::BTreeSet;

use certward_pki::{HostName, Material, describe, fingerprint};
use certward_store::{ApiKey, Deployment, Scope, StoppedChange};

use super::{
    stopped_impact::{FromTo, KeyKindFromTo, RefusedCount, StoppedImpact},
    verdict::{Impact, RefusedShare},
};
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
        let hosts_lost = configured(&impact.hosts_lost, &compared.spec.hosts);
        let impact = Impact { hosts_lost, ..impact.clone() };
        let stopped = StoppedChange {
            deployment: id.clone(),
            project: compared.project.clone(),
            subject: describe(leaf).map(|facts| facts.subject).unwrap_or_default(),
            // Fails for maps with other keys than text only.
            detail: serde_json::to_string(&StoppedImpact::from(&impact)).unwrap_or_default(),
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

/// The deployment's hosts that stand for these.
fn configured(lost: &[String], hosts: &[HostName]) -> Vec<String> {
    let exact = |host: &HostName| hosts.iter().find(|own| *own == host);
    let covering = |host: &HostName| hosts.iter().find(|own| own.covers(host));
    let lost = lost.iter().filter_map(|host| HostName::parse(host).ok());
    let configured = lost.filter_map(|host| exact(&host).or_else(|| covering(&host)));
    configured.map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Hosts that are named.
const HOSTS_MAX: usize = 20;

impl From<&Impact> for StoppedImpact {
    fn from(impact: &Impact) -> Self {
        let root_changed = impact.root_changed.as_ref();
        let key_kind_changed = impact.key_kind_changed.as_ref();
        Self {
            severity: impact.severity.as_str().to_owned(),
            connected: impact.connected.into(),
            known: impact.known.into(),
            hosts_lost: impact.hosts_lost.iter().take(HOSTS_MAX).cloned().collect(),
            hosts_lost_count: impact.hosts_lost.len(),
            root_changed: root_changed
                .map(|change| FromTo { from: change.from.clone(), to: change.to.clone() }),
            key_kind_changed: key_kind_changed.map(|change| KeyKindFromTo {
                from: change.from.clone(),
                to: change.to.clone(),
                share: change.share(),
            }),
            reasons: impact.severe_reasons(),
        }
    }
}

impl From<RefusedShare> for RefusedCount {
    fn from(RefusedShare { refused, of }: RefusedShare) -> Self {
        Self { refused, of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_below_a_wildcard_are_not_named() {
        let hosts = ["*.example.com", "a.example.com", "b.test"].map(|host| HostName::parse(host).unwrap());
        let lost = ["a.example.com", "b.test", "device-7.example.com", "device-8.example.com", "c.test"];
        let lost = lost.map(str::to_owned);
        assert_eq!(configured(&lost, &hosts), ["*.example.com", "a.example.com", "b.test"]);
    }
}

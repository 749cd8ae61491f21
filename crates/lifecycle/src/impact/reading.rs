use std::{collections::HashSet, time::Duration};

use certward_pki::{HostName, Material};
use certward_store::{ApiKey, Deployment, StoreError, Timestamp, Version};

use super::{
    evidence::ImpactEvidence, known_devices::KnownVerdict, public_material::PublicMaterial, verdict::Impact,
};
use crate::{EvidenceOfNodes, Lifecycle, NAMED_MAX, RejectedDevice, TrustChange, judge_pool::TooMany};

/// How far back offers count. Devices themselves are known for longer: they may be out of season,
/// but what they offer changes with their firmware.
const OFFERS_COUNTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why it is not said what a change would do.
#[derive(Debug)]
pub(crate) enum ImpactUnread {
    /// The key's queue is full.
    TooMany,
    Store(StoreError),
}

impl From<StoreError> for ImpactUnread {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Lifecycle {
    /// What a change from `replaced`, the newest upload, to `material` would do. `None`: nothing is
    /// known of the deployment's devices.
    ///
    /// # Errors
    /// It cannot be said: the store fails, or too many judgements wait.
    pub(crate) async fn impact(
        &self,
        actor: &ApiKey,
        deployment: &Deployment,
        replaced: &Version,
        material: &Material,
    ) -> Result<Option<Impact>, ImpactUnread> {
        let (old, new) = (PublicMaterial::of_version(replaced), PublicMaterial::of(material));
        let now = self.store.clock().now();
        let evidence = self.evidence(deployment, &old.trust_change(&new), now).await?;
        if evidence.is_empty() {
            return Ok(None);
        }
        let judge = move || {
            let known = KnownVerdict::of(&old, &new, &evidence.paths, now);
            (Impact::of(&old, &new, &evidence, &known, now), known)
        };
        let judged = self.judge_pool.run(actor, judge).await.map_err(|TooMany| ImpactUnread::TooMany)?;
        let (Some(mut impact), known) = judged else { return Ok(None) };
        self.name_known(deployment, &known, &mut impact.named, now).await?;
        Ok(Some(impact))
    }

    async fn evidence(
        &self,
        deployment: &Deployment,
        change: &TrustChange,
        now: Timestamp,
    ) -> Result<ImpactEvidence, StoreError> {
        let store = self.store.read();
        let id = &deployment.id;
        let answered = self.live_evidence(id, change).await?;
        let EvidenceOfNodes { evidence: live, nodes: live_nodes, silent } = answered.unwrap_or_default();
        let in_use = store.hosts_in_use(id).await?;
        let named = live.hosts.iter().map(|(host, _)| host).chain(in_use.iter().map(|seen| &seen.host));
        let named = named.filter_map(|host| HostName::parse(host).ok());
        // A host that was taken from the deployment since is not lost by this change.
        let mut hosts: Vec<HostName> =
            named.filter(|host| deployment.spec.hosts.iter().any(|own| own.covers(host))).collect();
        let paths = store.known_paths(id, now).await?;
        let without_example = store.devices_without_example(id, now).await?;
        let offers = store.offer_days(id, now.before(OFFERS_COUNTED_FOR).day()).await?;
        let mut evidence =
            ImpactEvidence { live, live_nodes, silent, paths, without_example, offers, hosts: Vec::new() };
        if evidence.is_incomplete() {
            hosts.extend(deployment.spec.hosts.iter().cloned());
        }
        evidence.hosts = hosts;
        Ok(evidence)
    }

    /// Adds known devices that would be refused, up to [`NAMED_MAX`] in all.
    async fn name_known(
        &self,
        deployment: &Deployment,
        known: &KnownVerdict,
        named: &mut Vec<RejectedDevice>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut ids: HashSet<_> = named.iter().filter_map(|device| device.id).collect();
        for refused in &known.refused {
            if named.len() >= NAMED_MAX {
                break;
            }
            let limit = NAMED_MAX as u32;
            let devices = self.store.read().devices_of_path(&deployment.id, refused.path, now, limit).await?;
            for device in devices.into_iter().filter(|device| ids.insert(device.id)) {
                let name = device.name.into();
                named.push(RejectedDevice::with_certificate(device.id, name, refused.refusal));
            }
            named.truncate(NAMED_MAX);
        }
        Ok(())
    }
}

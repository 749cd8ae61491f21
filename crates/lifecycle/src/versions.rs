//! The versions that are kept of a deployment's certificate, and erasing the key of one.
//!
//! Nodes may serve the newest version and, while that is not proven, the fallback; these are in
//! service. All others are the past: a rollback makes one of them the newest again, as a version of
//! its own.

use certward_pki::{CertificateFacts, Finding, describe, findings_as_of, fingerprint};
use certward_store::{
    AuditEntry, Deployment, DeploymentId, DeploymentRef, KeptVersion, Scope, StoreError, Timestamp, TlsState,
    Tx, Version, VersionId,
};

use crate::{Lifecycle, Requester, TlsError, acting::Acting, narrows};

/// A version as shown to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// As stored.
    pub version: Version,
    /// Where it stands.
    pub status: VersionStatus,
    /// The leaf.
    pub leaf: CertificateFacts,
    /// The leaf's: SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// The served chain, leaf first.
    pub chain: Vec<ListedCertificate>,
    /// The client CAs; empty for one-way.
    pub client_cas: Vec<ListedCertificate>,
    /// The upload's findings, as of now.
    pub warnings: Vec<Finding>,
}

/// A certificate of a chain or of client CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCertificate {
    /// The subject, escaped and bounded.
    pub subject: String,
    /// SHA-256 of the DER, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// notAfter.
    pub not_after: Timestamp,
}

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionStatus {
    /// The newest; not yet proven on every counted node.
    Pending,
    /// The newest; proven on every counted node.
    Running,
    /// The newest; overdue, or no entry point.
    Failed,
    /// A newer upload took its place.
    Superseded,
    /// A rollback took its place.
    RolledBack,
    /// Its key is erased.
    Erased,
}

impl VersionStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Failed, Self::Superseded, Self::RolledBack, Self::Erased];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolledBack",
            Self::Erased => "erased",
        }
    }
}

impl Lifecycle {
    /// The versions that are kept, newest first. `None`: the deployment is gone, or another has its
    /// id.
    pub async fn tls_versions(&self, wanted: &DeploymentRef) -> Result<Option<Vec<VersionView>>, StoreError> {
        let store = self.store.read();
        // In this order: a version that is newer than the deployment's state would have no status.
        let kept = store.versions(&wanted.id).await?;
        let found = store.deployment(&wanted.id).await?.filter(|found| wanted.means(found));
        let Some(deployment) = found else { return Ok(None) };
        let now = self.store.clock().now();
        let statuses = statuses(&deployment.tls, &kept);
        let views = kept.into_iter().zip(statuses).map(|(kept, status)| view(kept.version, status, now));
        views.collect::<Result<_, _>>().map(Some)
    }

    /// Erases the key of a version that is not in service. Durable on return, also if it was erased
    /// before. Nodes erase it from their replicas as they carry the change out.
    pub async fn erase_version<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        version: VersionId,
    ) -> Result<(), TlsError> {
        let mut acting = self.begin_as(actor.into(), Scope::Tls).await?;
        let deployment = acting.deployment(deployment).await?.ok_or(TlsError::NoDeployment)?;
        let Acting { mut tx, origin, .. } = acting;
        let Deployment { id, tls, project, .. } = deployment;
        let kept = tx.versions(&id).await?;
        let found = kept.iter().find(|kept| kept.version.version == version);
        let found = found.ok_or(TlsError::NoVersion(Some(version)))?;
        if !found.has_key {
            return Ok(());
        }
        if is_in_service(&tls, &kept, version) {
            return Err(TlsError::VersionInService(version));
        }
        tx.erase_key(&id, version).await?;
        // So that nodes copy the deployment again. It is as proven as before.
        let generation = tx.draw_generation(&id).await?;
        tx.set_tls(&id, generation, &tls).await?;
        tx.audit(AuditEntry {
            detail: format!("version {version}, generation {generation}"),
            project: Some(project),
            deployment: Some(id.clone()),
            ..AuditEntry::new(origin, "tls.version-erase", id.as_str())
        });
        tx.commit().await?;
        // It is erased. Should this fail, pruning does it later.
        let _ = self.store.overwrite_erased().await;
        Ok(())
    }

    pub(crate) async fn rollback_target(
        &self,
        deployment: &Deployment,
        wanted: Option<VersionId>,
    ) -> Result<Version, TlsError> {
        let newest = deployment.tls.version().ok_or(TlsError::NotFound)?;
        let kept = self.store.read().versions(&deployment.id).await?;
        target(kept, newest, wanted)
    }
}

pub(crate) async fn has_key(tx: &mut Tx, id: &DeploymentId, version: VersionId) -> Result<bool, StoreError> {
    let kept = tx.versions(id).await?;
    Ok(kept.iter().any(|kept| kept.version.version == version && kept.has_key))
}

/// Of `kept`, newest first. Without `wanted` an erased one is not passed over: what was `running`
/// before it may be long outdated.
fn target(kept: Vec<KeptVersion>, newest: VersionId, wanted: Option<VersionId>) -> Result<Version, TlsError> {
    if wanted == Some(newest) {
        return Err(TlsError::VersionInService(newest));
    }
    let is_target = |kept: &KeptVersion| match wanted {
        Some(wanted) => kept.version.version == wanted,
        None => kept.version.version < newest && kept.version.proven,
    };
    match kept.into_iter().find(is_target) {
        None => Err(TlsError::NoVersion(wanted)),
        Some(KeptVersion { version, has_key: false }) => Err(TlsError::VersionErased(version.version)),
        Some(KeptVersion { version, .. }) => Ok(version),
    }
}

/// One for each of `kept`, newest first.
fn statuses(state: &TlsState, kept: &[KeptVersion]) -> Vec<VersionStatus> {
    let successors = std::iter::once(None).chain(kept.iter().map(Some));
    kept.iter().zip(successors).map(|(kept, successor)| status(state, kept, successor)).collect()
}

fn status(state: &TlsState, kept: &KeptVersion, successor: Option<&KeptVersion>) -> VersionStatus {
    if !kept.has_key {
        return VersionStatus::Erased;
    }
    match state {
        TlsState::Pending { version, .. } if *version == kept.version.version => VersionStatus::Pending,
        TlsState::Running { version } if *version == kept.version.version => VersionStatus::Running,
        TlsState::Failed { version, .. } if *version == kept.version.version => VersionStatus::Failed,
        _ if successor.is_some_and(|successor| successor.version.restores.is_some()) => {
            VersionStatus::RolledBack
        }
        _ => VersionStatus::Superseded,
    }
}

/// See the module.
fn is_in_service(state: &TlsState, kept: &[KeptVersion], version: VersionId) -> bool {
    let Some(newest) = state.version() else { return false };
    if version == newest {
        return true;
    }
    if matches!(state, TlsState::Running { .. }) {
        return false;
    }
    let Some(newest) = kept.iter().find(|kept| kept.version.version == newest) else { return false };
    let mut older = kept.iter().filter(|kept| kept.version.version < newest.version.version);
    let fallback = older.find(|kept| kept.version.proven && kept.has_key);
    fallback.is_some_and(|fallback| {
        fallback.version.version == version && !narrows(&newest.version, &fallback.version)
    })
}

fn view(version: Version, status: VersionStatus, now: Timestamp) -> Result<VersionView, StoreError> {
    let leaf = version.chain.first().and_then(|leaf| Some((describe(leaf)?, fingerprint(leaf))));
    let unreadable = || StoreError::Corrupt(format!("the leaf of version {}", version.version));
    let (leaf, fingerprint) = leaf.ok_or_else(unreadable)?;
    let Version { findings, chain, client_cas, .. } = &version;
    Ok(VersionView {
        warnings: findings_as_of(findings, chain, client_cas, now.to_time()),
        chain: listed(chain)?,
        client_cas: listed(client_cas)?,
        leaf,
        fingerprint,
        status,
        version,
    })
}

fn listed(ders: &[Vec<u8>]) -> Result<Vec<ListedCertificate>, StoreError> {
    let listed = ders.iter().map(|der| {
        let facts = describe(der).ok_or_else(|| StoreError::Corrupt("a stored certificate".to_owned()))?;
        Ok(ListedCertificate {
            subject: facts.subject,
            fingerprint: fingerprint(der),
            not_after: Timestamp::from_time(facts.not_after),
        })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use certward_pki::TlsType;
    use certward_store::TrustScope;

    use super::*;

    fn kept(version: i64) -> KeptVersion {
        let version = Version {
            deployment: DeploymentId::parse("d").unwrap(),
            version: VersionId(version),
            tls_type: TlsType::OneWay,
            chain: vec![],
            client_cas: vec![],
            trust_scope: TrustScope([0; 16]),
            common_name: None,
            not_after: Timestamp(0),
            findings: vec![],
            created_at: Timestamp(0),
            proven: true,
            accepted_by: None,
            restores: None,
        };
        KeptVersion { version, has_key: true }
    }

    fn unproven(version: i64) -> KeptVersion {
        let mut kept = kept(version);
        kept.version.proven = false;
        kept
    }

    fn erased(version: i64) -> KeptVersion {
        KeptVersion { has_key: false, ..kept(version) }
    }

    fn rollback(version: i64, to: i64) -> KeptVersion {
        let mut kept = kept(version);
        kept.version.restores = Some(VersionId(to));
        kept
    }

    fn two_way(mut kept: KeptVersion) -> KeptVersion {
        kept.version.client_cas = vec![vec![1]];
        kept
    }

    #[test]
    fn a_rollback_goes_to_the_named_version_or_to_the_last_one_that_was_running() {
        const GONE: &str = "the version does not exist, or is not kept any more";
        type Case = (Vec<KeptVersion>, Option<i64>, Result<i64, &'static str>);
        let versions = || vec![unproven(9), unproven(8), kept(7), erased(6), rollback(5, 4), kept(4)];
        let cases: [Case; 10] = [
            (versions(), None, Ok(7)),
            (versions(), Some(8), Ok(8)),
            (versions(), Some(4), Ok(4)),
            (versions(), Some(9), Err("the version 9 is in service")),
            (versions(), Some(6), Err("the key of version 6 is erased")),
            (versions(), Some(3), Err(GONE)),
            (versions(), Some(-1), Err(GONE)),
            (vec![kept(9), unproven(8)], None, Err(GONE)),
            (vec![kept(9), erased(8), kept(7)], None, Err("the key of version 8 is erased")),
            // The one that a rollback took the place of: a second rollback undoes the first.
            (vec![rollback(9, 7), kept(8), kept(7)], None, Ok(8)),
        ];
        for (versions, wanted, expected) in cases {
            let found = target(versions, VersionId(9), wanted.map(VersionId));
            let found = found.map(|version| version.version.0).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{wanted:?}");
        }
    }

    #[test]
    fn each_version_has_a_status() {
        let (pending, running, failed) = (
            TlsState::Pending { version: VersionId(9), deadline: Timestamp(0) },
            TlsState::Running { version: VersionId(9) },
            TlsState::Failed { version: VersionId(9), reason: "because".to_owned() },
        );
        let cases: [(&TlsState, Vec<KeptVersion>, &[&str]); 6] = [
            (&running, vec![], &[]),
            (&running, vec![kept(9), kept(7), erased(6)], &["running", "superseded", "erased"]),
            (&pending, vec![rollback(9, 5), kept(7), kept(5)], &["pending", "rolledBack", "superseded"]),
            (&failed, vec![unproven(9), rollback(8, 5), kept(7)], &["failed", "superseded", "rolledBack"]),
            (&TlsState::Terminated, vec![erased(9), erased(7)], &["erased", "erased"]),
            (&TlsState::Absent, vec![erased(9)], &["erased"]),
        ];
        for (state, versions, expected) in cases {
            let found: Vec<&str> =
                statuses(state, &versions).into_iter().map(VersionStatus::as_str).collect();
            assert_eq!(found, expected, "{state:?}");
        }
    }

    #[test]
    fn in_service_are_the_newest_and_what_nodes_may_serve_instead() {
        let (pending, running) = (
            TlsState::Pending { version: VersionId(9), deadline: Timestamp(0) },
            TlsState::Running { version: VersionId(9) },
        );
        let failed = TlsState::Failed { version: VersionId(9), reason: "because".to_owned() };
        let cases: [(&TlsState, Vec<KeptVersion>, &[i64]); 7] = [
            (&running, vec![kept(9), kept(8), kept(7)], &[9]),
            (&pending, vec![unproven(9), kept(8), kept(7)], &[9, 8]),
            (&failed, vec![unproven(9), unproven(8), kept(7), kept(6)], &[9, 7]),
            (&failed, vec![unproven(9), erased(8), kept(7)], &[9, 7]),
            // Trust would be wider than the newest one's.
            (&pending, vec![two_way(unproven(9)), kept(8)], &[9]),
            (&pending, vec![two_way(unproven(9)), two_way(kept(8))], &[9, 8]),
            (&TlsState::Absent, vec![erased(9)], &[]),
        ];
        for (state, versions, expected) in cases {
            let ids: Vec<VersionId> = versions.iter().map(|kept| kept.version.version).collect();
            let found: Vec<i64> = ids
                .into_iter()
                .filter(|version| is_in_service(state, &versions, *version))
                .map(|version| version.0)
                .collect();
            assert_eq!(found, expected, "{state:?}");
        }
    }
}

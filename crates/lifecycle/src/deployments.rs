use certward_store::{
    AuditEntry, AuditOrigin, CertificateChange, Deployment, DeploymentId, DeploymentPatch, DeploymentRef,
    DeploymentSpec, ProjectId, RevocationMark, Scope, Timestamp, TlsState, VersionId,
};

use crate::{DeploymentError, Lifecycle, Requester, acting::Acting, boundary, fingerprints, state};

/// A deployment to create.
#[derive(Debug, Clone)]
pub struct NewDeployment {
    /// Drawn if absent.
    pub id: Option<DeploymentId>,
    /// `default` if absent.
    pub project: Option<ProjectId>,
    /// Its settings; duplicate hosts are dropped.
    pub spec: DeploymentSpec,
}

impl Lifecycle {
    /// Creates a deployment.
    pub async fn create_deployment<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        new: NewDeployment,
    ) -> Result<Deployment, DeploymentError> {
        let project = new.project.unwrap_or_else(ProjectId::default_project);
        let Acting { mut tx, actor, origin } = self.begin_as(actor.into(), Scope::Deployments).await?;
        if tx.project(&project).await?.is_none() || !actor.sees(&project) {
            return Err(DeploymentError::NoProject);
        }
        // 36⁸ ids: a collision is rare, and `Exists` asks for a retry.
        let id = new.id.unwrap_or_else(|| self.drawn_id());
        if tx.deployment(&id).await?.is_some() {
            return Err(DeploymentError::Exists);
        }
        let generation = tx.draw_generation(&id).await?;
        let deployment = Deployment {
            born: generation,
            generation,
            id,
            project,
            spec: without_duplicates(new.spec),
            created_at: tx.now(),
            tls: TlsState::Absent,
            revocations: RevocationMark::default(),
            close_rate: None,
            close_rate_number: 0,
        };
        boundary::check_quota(&mut tx, &self.settings, &deployment.project).await?;
        tx.insert_deployment(&deployment).await??;
        boundary::check(&mut tx, &self.settings, &actor, None, &deployment).await?;
        tx.audit(entry(origin, "deployment.create", &deployment));
        tx.commit().await?;
        Ok(deployment)
    }

    /// Changes a deployment. New hosts or entry points make it `pending` again.
    pub async fn change_deployment<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
        patch: DeploymentPatch,
    ) -> Result<Deployment, DeploymentError> {
        let mut acting = self.begin_as(actor.into(), Scope::Deployments).await?;
        let before = acting.deployment(deployment).await?.ok_or(DeploymentError::NotFound)?;
        let (Acting { mut tx, actor, origin }, id) = (acting, &deployment.id);
        let spec = without_duplicates(patch.applied_to(before.spec.clone()));
        let mut after = Deployment { spec, ..before.clone() };
        if after == before {
            return Ok(before);
        }
        after.generation = tx.draw_generation(id).await?;
        tx.update_deployment(&after).await??;
        boundary::check(&mut tx, &self.settings, &actor, Some(&before), &after).await?;
        if let Some(version) = after.tls.version().filter(|_| entry_points_differ(&before, &after)) {
            after.tls = self.pending_again(version, tx.now());
            tx.set_tls(id, after.generation, &after.tls).await?;
            tx.count_nodes(id).await?;
        }
        tx.audit(entry(origin, "deployment.change", &after));
        tx.commit().await?;
        Ok(after)
    }

    /// Removes a deployment with its certificate, keys, hosts and connections.
    pub async fn remove_deployment<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        deployment: &DeploymentRef,
    ) -> Result<CertificateChange, DeploymentError> {
        let mut acting = self.begin_as(actor.into(), Scope::Deployments).await?;
        let deployment = acting.deployment(deployment).await?.ok_or(DeploymentError::NotFound)?;
        let Acting { mut tx, origin, .. } = acting;
        let certificate = fingerprints::removal(&mut tx, &deployment).await?;
        tx.draw_generation(&deployment.id).await?;
        tx.remove_deployment(&deployment.id).await?;
        tx.audit(AuditEntry {
            certificate: certificate.clone(),
            ..entry(origin, "deployment.remove", &deployment)
        });
        tx.commit().await?;
        Ok(certificate)
    }

    fn pending_again(&self, version: VersionId, now: Timestamp) -> TlsState {
        state::pending(version, now, self.settings.prove_within)
    }

    fn drawn_id(&self) -> DeploymentId {
        self.drawn_text(|text| DeploymentId::parse(text).ok())
    }

    /// Eight letters and digits, like the ids of the public service (`ge6a1a75`).
    pub(crate) fn drawn_text<T>(&self, parse: impl Fn(&str) -> Option<T>) -> T {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        loop {
            let mut bytes = [0; 8];
            self.entropy.fill(&mut bytes);
            // The greatest multiple of 36 in a byte, for a uniform choice.
            if bytes.iter().any(|byte| *byte >= 252) {
                continue;
            }
            let text: String =
                bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 36)])).collect();
            if let Some(id) = parse(&text) {
                return id;
            }
        }
    }
}

/// Whether proofs of `before` are void: other hosts, or `wss` added or removed. Broker addresses do
/// not matter to TLS.
pub(crate) fn entry_points_differ(before: &Deployment, after: &Deployment) -> bool {
    let (before, after) = (&before.spec, &after.spec);
    before.hosts != after.hosts || before.ws_upstream.is_some() != after.ws_upstream.is_some()
}

fn without_duplicates(mut spec: DeploymentSpec) -> DeploymentSpec {
    let mut seen = std::collections::HashSet::new();
    spec.hosts.retain(|host| seen.insert(host.clone()));
    spec
}

fn entry(origin: AuditOrigin, action: &'static str, deployment: &Deployment) -> AuditEntry {
    AuditEntry {
        detail: format!(
            "generation {}, project {}, {}",
            deployment.generation, deployment.project, deployment.spec
        ),
        project: Some(deployment.project.clone()),
        deployment: Some(deployment.id.clone()),
        ..AuditEntry::new(origin, action, deployment.id.as_str())
    }
}

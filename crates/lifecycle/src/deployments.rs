use certward_pki::{DeviceIdentity, HostName, Profile};
use certward_store::{
    ApiKey, ApiKeyRecord, AuditEntry, ConnectionLimit, ConnectionLimits, Deployment, DeploymentId,
    DeploymentRef, ProjectId, Proxy, ProxyProtocol, RecordBytes, Scope, Timestamp, TlsState, UpstreamList,
    VersionId,
};

use crate::{DeploymentError, Lifecycle, acting::Acting, boundary, state};

/// A deployment to create.
#[derive(Debug, Clone)]
pub struct NewDeployment {
    /// Drawn if absent (8 lower-case alphanumerics).
    pub id: Option<DeploymentId>,
    /// Display name.
    pub name: String,
    /// `default` if absent.
    pub project: Option<ProjectId>,
    /// The broker's MQTT addresses.
    pub upstream: UpstreamList,
    /// The broker's WebSocket addresses.
    pub ws_upstream: Option<UpstreamList>,
    /// Duplicates are dropped.
    pub hosts: Vec<HostName>,
    /// Strictness of judgement.
    pub profile: Profile,
    /// The PROXY header sent to the broker.
    pub proxy: Proxy,
    /// Limits per node.
    pub limits: ConnectionLimits,
    /// The largest TLS record sent to its devices.
    pub record_bytes: RecordBytes,
}

/// Changes of a deployment; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub struct DeploymentChange {
    /// Display name.
    pub name: Option<String>,
    /// The broker's MQTT addresses.
    pub upstream: Option<UpstreamList>,
    /// The broker's WebSocket addresses; `Some(None)` removes them.
    pub ws_upstream: Option<Option<UpstreamList>>,
    /// Its hosts.
    pub hosts: Option<Vec<HostName>>,
    /// For later uploads.
    pub profile: Option<Profile>,
    /// PROXY protocol version, if any.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The device name sent to the broker.
    pub proxy_identity: Option<DeviceIdentity>,
    /// At once per node; `Some(None)`: no limit. Live connections stay.
    pub connections_at_once: Option<Option<ConnectionLimit>>,
    /// New per node and second; `Some(None)`: no limit.
    pub connections_per_second: Option<Option<ConnectionLimit>>,
    /// The largest TLS record, for new connections.
    pub record_bytes: Option<RecordBytes>,
}

impl Lifecycle {
    /// Creates a deployment.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn create_deployment(
        &self,
        actor: &ApiKey,
        new: NewDeployment,
    ) -> Result<Deployment, DeploymentError> {
        let project = new.project.unwrap_or_else(ProjectId::default_project);
        let Acting { mut tx, actor } = self.begin_as(actor, Scope::Deployments).await?;
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
            name: new.name,
            upstream: new.upstream,
            ws_upstream: new.ws_upstream,
            hosts: without_duplicates(new.hosts),
            profile: new.profile,
            proxy: new.proxy,
            limits: new.limits,
            record_bytes: new.record_bytes,
            created_at: tx.now(),
            tls: TlsState::Absent,
        };
        boundary::check_quota(&mut tx, &self.settings, &deployment.project).await?;
        tx.insert_deployment(&deployment).await??;
        boundary::check(&mut tx, &self.settings, &actor, None, &deployment).await?;
        tx.audit(entry(&actor, "deployment.create", &deployment)).await?;
        tx.commit().await?;
        Ok(deployment)
    }

    /// Changes a deployment. New hosts or entry points make it `pending` again.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn change_deployment(
        &self,
        actor: &ApiKey,
        deployment: &DeploymentRef,
        change: DeploymentChange,
    ) -> Result<Deployment, DeploymentError> {
        let mut acting = self.begin_as(actor, Scope::Deployments).await?;
        let before = acting.deployment(deployment).await?.ok_or(DeploymentError::NotFound)?;
        let (Acting { mut tx, actor }, id) = (acting, &deployment.id);
        let mut after = change.applied_to(before.clone());
        if after == before {
            return Ok(before);
        }
        after.generation = tx.draw_generation(id).await?;
        tx.update_deployment(&after).await??;
        boundary::check(&mut tx, &self.settings, &actor, Some(&before), &after).await?;
        if let Some(version) = after.tls.version().filter(|_| ways_in_differ(&before, &after)) {
            after.tls = self.pending_again(version, tx.now());
            tx.set_tls(id, after.generation, &after.tls).await?;
            tx.count_nodes(id).await?;
        }
        tx.audit(entry(&actor, "deployment.change", &after)).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Removes a deployment with its certificate, keys, hosts and connections.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn remove_deployment(
        &self,
        actor: &ApiKey,
        deployment: &DeploymentRef,
    ) -> Result<(), DeploymentError> {
        let mut acting = self.begin_as(actor, Scope::Deployments).await?;
        let deployment = acting.deployment(deployment).await?.ok_or(DeploymentError::NotFound)?;
        let Acting { mut tx, actor } = acting;
        tx.draw_generation(&deployment.id).await?;
        tx.remove_deployment(&deployment.id).await?;
        tx.audit(entry(&actor, "deployment.remove", &deployment)).await?;
        Ok(tx.commit().await?)
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

impl DeploymentChange {
    fn applied_to(self, mut deployment: Deployment) -> Deployment {
        if let Some(name) = self.name {
            deployment.name = name;
        }
        if let Some(upstream) = self.upstream {
            deployment.upstream = upstream;
        }
        if let Some(ws_upstream) = self.ws_upstream {
            deployment.ws_upstream = ws_upstream;
        }
        if let Some(hosts) = self.hosts {
            deployment.hosts = without_duplicates(hosts);
        }
        if let Some(protocol) = self.proxy_protocol {
            deployment.proxy.protocol = protocol;
        }
        if let Some(identity) = self.proxy_identity {
            deployment.proxy.identity = identity;
        }
        if let Some(limit) = self.connections_at_once {
            deployment.limits.at_once = limit;
        }
        if let Some(limit) = self.connections_per_second {
            deployment.limits.per_second = limit;
        }
        if let Some(record_bytes) = self.record_bytes {
            deployment.record_bytes = record_bytes;
        }
        if let Some(profile) = self.profile {
            deployment.profile = profile;
        }
        deployment
    }
}

/// Whether proofs of `before` are void: other hosts, or `wss` added or removed. Broker addresses do
/// not matter to TLS.
pub(crate) fn ways_in_differ(before: &Deployment, after: &Deployment) -> bool {
    before.hosts != after.hosts || before.ws_upstream.is_some() != after.ws_upstream.is_some()
}

fn without_duplicates(hosts: Vec<HostName>) -> Vec<HostName> {
    let mut seen = std::collections::HashSet::new();
    hosts.into_iter().filter(|host| seen.insert(host.clone())).collect()
}

fn entry(actor: &ApiKeyRecord, action: &'static str, deployment: &Deployment) -> AuditEntry {
    AuditEntry {
        actor: actor.key.to_string(),
        action,
        subject: deployment.id.to_string(),
        detail: format!(
            "generation {}, project {}, upstream {}, {} hosts, profile {}, proxy {} {}, {}, records {}",
            deployment.generation,
            deployment.project,
            deployment.upstream,
            deployment.hosts.len(),
            deployment.profile,
            deployment.proxy.protocol,
            deployment.proxy.identity,
            deployment.limits,
            deployment.record_bytes.get(),
        ),
    }
}

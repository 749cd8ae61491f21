//! Project boundaries: upstreams, hosts and the number of deployments.
//!
//! Checked in the changing transaction, under the lock of claims, for what the change adds.
//! [`Lifecycle::boundary_warnings`] lists older claims that would be refused.

use certward_pki::HostName;
use certward_store::{
    ApiKeyRecord, Boundary, Deployment, HostSuffix, ProjectId, Scope, StoreError, Tx, Upstream, UpstreamList,
};

use crate::{DeploymentError, Lifecycle, LifecycleSettings, OutOfBounds, UpstreamField};

/// A claim that would be refused today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundaryWarning {
    /// Also used in another project.
    UpstreamShared(UpstreamField, Upstream),
    /// The project no longer allows it; devices are disconnected at the dial.
    UpstreamNotAllowed(UpstreamField, Upstream),
}

/// Whether deployments of different projects may share a broker.
fn may_share(actor: &ApiKeyRecord) -> bool {
    actor.may(Scope::Admin) && actor.projects.is_none()
}

/// Must follow the write, so that a taken host is reported first.
pub(crate) async fn check(
    tx: &mut Tx,
    settings: &LifecycleSettings,
    actor: &ApiKeyRecord,
    before: Option<&Deployment>,
    after: &Deployment,
) -> Result<(), DeploymentError> {
    let upstreams = added_upstreams(before, after);
    let had = before.map_or(&[][..], |before| before.spec.hosts.as_slice());
    let hosts: Vec<&HostName> = after.spec.hosts.iter().filter(|host| !had.contains(host)).collect();
    let is_new_identity = before.is_some_and(|before| before.spec.proxy != after.spec.proxy);
    if upstreams.is_empty() && hosts.is_empty() && !is_new_identity {
        return Ok(());
    }
    let boundary = tx.boundary(&after.project).await?;
    check_allowed(settings, &boundary, &upstreams)?;
    // Under a new proxy identity its devices are new to a shared broker.
    let named = if is_new_identity { added_upstreams(None, after) } else { upstreams };
    check_not_taken(tx, actor, &after.project, &named).await?;
    for host in hosts {
        check_host(tx, &boundary, &after.project, host).await?;
    }
    Ok(())
}

fn check_allowed(
    settings: &LifecycleSettings,
    boundary: &Boundary,
    added: &[(UpstreamField, &Upstream)],
) -> Result<(), DeploymentError> {
    for (list, upstream) in added {
        if boundary.upstream_allow.as_ref().is_some_and(|allow| !allow.admits(upstream, &settings.nat64)) {
            let (list, upstream) = (*list, (*upstream).clone());
            return Err(OutOfBounds::UpstreamNotAllowed { list, upstream }.into());
        }
    }
    Ok(())
}

async fn check_not_taken(
    tx: &mut Tx,
    actor: &ApiKeyRecord,
    project: &ProjectId,
    named: &[(UpstreamField, &Upstream)],
) -> Result<(), DeploymentError> {
    if may_share(actor) {
        return Ok(());
    }
    let of = |upstream: &Upstream| named.iter().find(|(_, named)| *named == upstream).map(|(list, _)| *list);
    let upstreams: Vec<&Upstream> = named.iter().map(|(_, upstream)| *upstream).collect();
    match tx.taken_upstream(&upstreams, project).await? {
        Some(upstream) => {
            let list = of(&upstream).unwrap_or(UpstreamField::Upstream);
            Err(OutOfBounds::UpstreamTaken { list, upstream }.into())
        }
        None => Ok(()),
    }
}

async fn check_host(
    tx: &mut Tx,
    boundary: &Boundary,
    project: &ProjectId,
    host: &HostName,
) -> Result<(), DeploymentError> {
    let suffixes = &boundary.host_suffixes;
    if !suffixes.is_empty() && !suffixes.iter().any(|suffix| suffix.covers(host)) {
        return Err(OutOfBounds::HostNotAllowed(host.clone()).into());
    }
    // An admin allowed it by naming the suffix.
    let is_named = |suffix: &HostSuffix| Some(suffix.as_str()) == host.parent();
    if host.is_over_public_suffix() && !suffixes.iter().any(is_named) {
        return Err(OutOfBounds::HostPublicSuffix(host.clone()).into());
    }
    if tx.is_under_anothers_suffix(host, project).await? {
        return Err(OutOfBounds::HostOfAnother(host.clone()).into());
    }
    Ok(())
}

/// Must be called when the generation is drawn.
pub(crate) async fn check_quota(
    tx: &mut Tx,
    settings: &LifecycleSettings,
    project: &ProjectId,
) -> Result<(), DeploymentError> {
    let max = settings.deployments_per_project_max;
    // Under the lock of claims, so that concurrent creations are counted.
    if max > 0 && tx.deployments_in_for_one_more(project).await? >= u64::from(max) {
        return Err(OutOfBounds::Quota(max).into());
    }
    Ok(())
}

fn added_upstreams<'a>(
    before: Option<&Deployment>,
    after: &'a Deployment,
) -> Vec<(UpstreamField, &'a Upstream)> {
    let had: Vec<String> =
        before.into_iter().flat_map(upstreams).map(|(_, upstream)| upstream.claimed()).collect();
    upstreams(after).filter(|(_, upstream)| !had.contains(&upstream.claimed())).collect()
}

fn upstreams(deployment: &Deployment) -> impl Iterator<Item = (UpstreamField, &Upstream)> {
    let plain = deployment.spec.upstream.as_slice().iter().map(|address| (UpstreamField::Upstream, address));
    let ws = deployment.spec.ws_upstream.as_ref().map(UpstreamList::as_slice).unwrap_or_default();
    plain.chain(ws.iter().map(|address| (UpstreamField::WsUpstream, address)))
}

impl Lifecycle {
    /// The deployment's warnings.
    pub async fn boundary_warnings(
        &self,
        deployment: &Deployment,
    ) -> Result<Vec<BoundaryWarning>, StoreError> {
        let shared = self.store.read().shared_upstreams(deployment).await?;
        let project = self.store.read().project(&deployment.project).await?;
        let allow = project.and_then(|project| project.boundary.upstream_allow);
        let mut warnings = Vec::new();
        for (list, upstream) in upstreams(deployment) {
            if shared.contains(upstream) {
                warnings.push(BoundaryWarning::UpstreamShared(list, upstream.clone()));
            }
            if allow.as_ref().is_some_and(|allow| !allow.admits(upstream, &self.settings.nat64)) {
                warnings.push(BoundaryWarning::UpstreamNotAllowed(list, upstream.clone()));
            }
        }
        Ok(warnings)
    }
}

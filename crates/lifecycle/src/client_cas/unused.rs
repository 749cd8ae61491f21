//! Finds client CAs that devices used once and no longer do. Any node with the API may do it: each
//! alert is recorded once, and withdrawn when a device comes or the CA goes. Nothing is removed.

use std::{collections::BTreeSet, time::Duration};

use certward_pki::describe;
use certward_store::{Alert, Deployment, DeploymentId, StoreError, Timestamp, UnusedClientCa, Version};

use super::{sessions::SessionsByCa, unused_detail::UnusedDetail, usage::CasByAuthority};
use crate::{Lifecycle, SilentNodes};

/// A device is kept for 90 days: within the rest of them a CA is known to have been used.
const UNUSED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const LISTED_AT_ONCE: u32 = 500;

impl Lifecycle {
    /// Records client CAs that no device has used for 30 days, and withdraws those that one uses
    /// again. Returns the new alerts.
    ///
    /// Only beside another CA that a device has used since, which shows that devices are recorded;
    /// and only if every node answers, records devices, and has no session of it.
    pub async fn watch_client_cas(&self) -> Result<Vec<Alert>, StoreError> {
        let now = self.store.now().await?;
        let store = self.store.read();
        let mut ids: BTreeSet<DeploymentId> =
            store.deployments_with_unused_client_cas().await?.into_iter().collect();
        let mut after = None;
        loop {
            let page =
                store.deployments_with_idle_paths(now.before(UNUSED_FOR), after.as_ref(), LISTED_AT_ONCE);
            let page = page.await?;
            ids.extend(page.iter().cloned());
            match page.last() {
                Some(last) if page.len() == LISTED_AT_ONCE as usize => after = Some(last.clone()),
                _ => break,
            }
        }
        let mut alerts = Vec::new();
        for id in ids {
            alerts.extend(self.review_client_cas(&id, now).await?);
        }
        Ok(alerts)
    }

    async fn review_client_cas(&self, id: &DeploymentId, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        let Some((deployment, newest)) = self.with_newest(id).await? else { return Ok(Vec::new()) };
        let (idle, confirmed) = match newest {
            Some(Version { client_cas, .. }) if client_cas.len() > 1 => {
                self.idle_client_cas(&deployment, CasByAuthority::new(client_cas), now).await?
            }
            _ => (Vec::new(), false),
        };
        let recorded = self.store.read().unused_client_cas(&deployment.project, id).await?;
        let fingerprints: Vec<String> = idle.iter().map(|unused| unused.fingerprint.clone()).collect();
        let is_new = confirmed && fingerprints.iter().any(|unused| !recorded.contains(unused));
        if !is_new && recorded.iter().all(|recorded| fingerprints.contains(recorded)) {
            return Ok(Vec::new());
        }
        let mut tx = self.store.begin().await?;
        let same = tx.deployment(id).await?.is_some_and(|found| {
            deployment.reference().means(&found) && deployment.tls.version() == found.tls.version()
        });
        if !same {
            return Ok(Vec::new());
        }
        tx.withdraw_used_client_cas(&deployment.project, id, &fingerprints).await?;
        let mut alerts = Vec::new();
        for unused in idle.iter().filter(|_| confirmed) {
            alerts.extend(tx.record_unused_client_ca(unused).await?);
        }
        tx.commit().await?;
        for alert in &alerts {
            tracing::info!(
                deployment.id = %id,
                certificate.sha256 = alert.item,
                "a client CA was used by no device for 30 days: see certward trust show"
            );
        }
        Ok(alerts)
    }

    /// Those that no recorded device has used; and whether the nodes confirm it.
    async fn idle_client_cas(
        &self,
        deployment: &Deployment,
        cas: CasByAuthority,
        now: Timestamp,
    ) -> Result<(Vec<UnusedClientCa>, bool), StoreError> {
        let (store, id) = (self.store.read(), &deployment.id);
        let since = now.before(UNUSED_FOR);
        let uses = store.path_uses(id, &[since], now).await?;
        let paths = store.known_paths(id, now).await?;
        let judged = tokio::task::spawn_blocking(move || (cas.usage(&paths, &uses), cas));
        let (usage, cas) =
            judged.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        if usage.iter().all(|usage| usage.seen.iter().sum::<u64>() == 0) {
            return Ok((Vec::new(), false));
        }
        let idle: Vec<(usize, Timestamp)> = cas
            .firsts()
            .filter_map(|index| Some((index, usage[index].last_seen_at.filter(|last| *last <= since)?)))
            .collect();
        if idle.is_empty() {
            return Ok((Vec::new(), false));
        }
        let live = self.sessions_by_client_ca(id, cas.ders()).await?;
        let Some(SessionsByCa { sessions, anonymous, silent }) = live else {
            return Ok((idle.iter().map(|idle| unused(deployment, &cas, *idle)).collect(), false));
        };
        let connected = cas.summed(&sessions);
        let idle = idle.into_iter().filter(|(index, _)| connected[*index] == 0);
        let all_answer = silent == SilentNodes::These(Vec::new()) && anonymous.is_empty();
        Ok((idle.map(|idle| unused(deployment, &cas, idle)).collect(), all_answer))
    }
}

fn unused(
    deployment: &Deployment,
    cas: &CasByAuthority,
    (index, last): (usize, Timestamp),
) -> UnusedClientCa {
    let detail = UnusedDetail {
        fingerprints: cas.of_same_ca(index).map(|same| cas.fingerprint(same).to_owned()).collect(),
        last_seen_ms: last.0,
    };
    UnusedClientCa {
        deployment: deployment.id.clone(),
        project: deployment.project.clone(),
        fingerprint: cas.fingerprint(index).to_owned(),
        subject: describe(&cas.ders()[index]).map(|facts| facts.subject).unwrap_or_default(),
        // Fails for maps with other keys than text only.
        detail: serde_json::to_string(&detail).unwrap_or_default(),
    }
}

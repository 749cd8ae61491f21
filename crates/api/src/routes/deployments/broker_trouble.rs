use std::collections::HashMap;

use certward_lifecycle::{broker_remedy, is_proxy_suspected};
use certward_store::{Deployment, DeploymentId, ProjectId, ReportedTrouble, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    context::Context,
    openapi::vocabulary::{ListenerWord, NodeIdText, SentenceText, UpstreamText, UtcTimeText},
    wire_time,
};

/// Of a piece of the list; two for each node and deployment at most.
const LISTED_MAX: u32 = 10_000;

/// A broker that devices cannot use through a node.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BrokerTrouble)]
pub(crate) struct BrokerTroubleBody {
    /// The node that noticed it.
    #[schema(value_type = NodeIdText)]
    node: String,
    /// The listeners that use this broker: `mqtts` or `wss`.
    #[schema(value_type = ListenerWord)]
    listener: String,
    /// The broker's addresses; absent without any.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, value_type = UpstreamText)]
    upstream: String,
    /// From the list in docs/brokers.md.
    #[schema(example = "refused", pattern = "^[a-z][a-z0-9_]*$", max_length = 64)]
    reason: String,
    /// The newest error.
    #[schema(example = "Connection refused (os error 111)", max_length = 4096)]
    message: String,
    /// What to do about it.
    #[schema(value_type = SentenceText)]
    remedy: String,
    /// Whether sending, or not sending, a PROXY header may be the reason.
    proxy_mismatch_suspected: bool,
    /// The first failure, UTC.
    #[schema(value_type = UtcTimeText)]
    since: String,
    /// The newest failure, UTC. Nothing is tried while no device comes.
    #[schema(value_type = UtcTimeText)]
    last_at: String,
    /// Connections of devices that were ended since, for this reason; up to a minute old.
    #[schema(example = 12)]
    turned_away: u64,
    /// Connections that the broker ended just before and since.
    #[schema(example = 3)]
    disconnected: u64,
}

/// By deployment.
pub(super) type BrokerTroubles = HashMap<DeploymentId, Vec<BrokerTroubleBody>>;

impl Context {
    /// Of deployments of one project, in the order of their ids.
    pub(super) async fn broker_troubles(
        &self,
        project: &ProjectId,
        deployments: &[Deployment],
    ) -> Result<BrokerTroubles, StoreError> {
        let (Some(first), Some(last)) = (deployments.first(), deployments.last()) else {
            return Ok(HashMap::new());
        };
        let store = self.lifecycle.store();
        let mut troubles = BrokerTroubles::new();
        for ReportedTrouble { node, trouble } in
            store.broker_troubles(project, &first.id, &last.id, LISTED_MAX).await?
        {
            // One may have been added between these.
            let found = deployments.binary_search_by(|deployment| deployment.id.cmp(&trouble.deployment));
            let Some(deployment) = found.ok().map(|at| &deployments[at]) else { continue };
            let proxy = deployment.spec.proxy.protocol;
            troubles.entry(deployment.id.clone()).or_default().push(BrokerTroubleBody {
                node: node.to_string(),
                remedy: broker_remedy(&trouble.reason, &deployment.id, &trouble.listener, proxy),
                listener: trouble.listener,
                upstream: trouble.upstream,
                message: trouble.error,
                proxy_mismatch_suspected: is_proxy_suspected(&trouble.reason),
                reason: trouble.reason,
                since: wire_time::to_the_second(trouble.since.to_time()),
                last_at: wire_time::to_the_second(trouble.last_at.to_time()),
                turned_away: trouble.turned_away,
                disconnected: trouble.disconnected,
            });
        }
        Ok(troubles)
    }
}

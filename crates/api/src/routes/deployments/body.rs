use crate::{context::Context, detail::Detail, wire_time};
use certward_store::{ConnectionLimit, Deployment};
use serde::Serialize;
use utoipa::ToSchema;

/// A deployment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deployment)]
pub(crate) struct DeploymentBody {
    #[serde(rename = "deploymentID")]
    #[schema(example = "ge6a1a75")]
    deployment_id: String,
    /// For people; may be empty.
    #[serde(rename = "deploymentName")]
    deployment_name: String,
    /// Always `dedicated`.
    #[serde(rename = "deploymentType")]
    #[schema(example = "dedicated")]
    deployment_type: &'static str,
    #[serde(rename = "projectID")]
    #[schema(example = "default")]
    project_id: String,
    /// As configured.
    platform: String,
    /// As configured.
    region: String,
    status: DeploymentStatus,
    /// How many connections each node lets in at once, 0 for no limit.
    connections: i64,
    /// How many new connections each node lets in a second, 0 for no limit.
    #[serde(rename = "connectionRate")]
    connection_rate: i64,
    /// The largest TLS record that devices are sent, in bytes of plaintext.
    #[serde(rename = "recordBytes")]
    #[schema(example = 16384, minimum = 512, maximum = 16384)]
    record_bytes: u16,
    /// Always 0: there is no limit of messages.
    tps: i64,
    /// When it was made, UTC.
    #[serde(rename = "createAt")]
    #[schema(example = "2024-11-21 02:51")]
    create_at: String,
    /// The broker's plain MQTT addresses, separated by commas, in the order in which they are
    /// tried.
    #[schema(example = "127.0.0.1:1883")]
    upstream: String,
    /// The broker's plain WebSocket addresses, if it has any.
    #[serde(rename = "wsUpstream", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ws_upstream: Option<String>,
    /// The names that lead here by SNI.
    hosts: Vec<String>,
    /// How strictly its certificates are judged: `default` or `emqx-cloud`.
    #[schema(example = "default")]
    profile: &'static str,
    /// The PROXY protocol header that the broker receives before a connection's first byte: `none`,
    /// `v2`, `emqx` or `mosquitto`.
    #[serde(rename = "proxyProtocol")]
    #[schema(example = "none")]
    proxy_protocol: &'static str,
    /// The part of a client certificate that is sent as the device's name: `cn`, `dn`, `san` or
    /// `fingerprint`.
    #[serde(rename = "proxyIdentity")]
    #[schema(example = "cn")]
    proxy_identity: &'static str,
    /// What the boundaries of projects would refuse of it today; GET of one deployment shows it,
    /// and leaves it out where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) warnings: Vec<Detail>,
}

/// `starting` until the node that is asked serves.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeploymentStatus {
    Running,
    Starting,
    #[expect(dead_code, reason = "part of the contract; a deployment cannot be stopped yet")]
    Stopped,
}

impl Context {
    pub(super) fn deployment_body(&self, deployment: Deployment) -> DeploymentBody {
        let ready = self.lifecycle.node_view().ready();
        DeploymentBody {
            deployment_id: deployment.id.to_string(),
            deployment_name: deployment.name,
            deployment_type: "dedicated",
            project_id: deployment.project.to_string(),
            platform: self.settings.platform.clone(),
            region: self.settings.region.clone(),
            status: if ready { DeploymentStatus::Running } else { DeploymentStatus::Starting },
            connections: ConnectionLimit::number(deployment.limits.at_once),
            connection_rate: ConnectionLimit::number(deployment.limits.per_second),
            record_bytes: deployment.record_bytes.get(),
            tps: 0,
            create_at: wire_time::to_the_minute(deployment.created_at),
            upstream: deployment.upstream.to_string(),
            ws_upstream: deployment.ws_upstream.map(|upstream| upstream.to_string()),
            hosts: deployment.hosts.iter().map(ToString::to_string).collect(),
            profile: deployment.profile.as_str(),
            proxy_protocol: deployment.proxy.protocol.as_str(),
            proxy_identity: deployment.proxy.identity.as_str(),
            warnings: Vec::new(),
        }
    }
}

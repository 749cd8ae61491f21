use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::NewDeployment;
use certward_store::{ConnectionLimits, Proxy, Scope};
use http::StatusCode;
use utoipa::ToSchema;

use super::body::DeploymentBody;
use crate::{auth::Caller, body, context::Shared, error::Error, property::Properties};

/// A deployment to make.
#[derive(ToSchema)]
#[schema(as = NewDeployment)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewDeploymentBody {
    /// 1 to 63 of `a-z 0-9 -`, not starting with `-`; drawn when absent.
    #[schema(rename = "deploymentID", example = "ge6a1a75")]
    deployment_id: Option<String>,
    /// For people; at most 200 characters.
    #[schema(rename = "deploymentName")]
    deployment_name: Option<String>,
    /// `default` when absent.
    #[schema(rename = "projectID")]
    project_id: Option<String>,
    /// The broker's plain MQTT address, `HOST:PORT`; or up to 8, separated by commas, tried in this
    /// order.
    #[schema(example = "127.0.0.1:1883")]
    upstream: String,
    /// The broker's plain WebSocket address, `HOST:PORT`; or up to 8, separated by commas.
    #[schema(rename = "wsUpstream")]
    ws_upstream: Option<String>,
    /// DNS names in A-labels; a wildcard only as the whole first label.
    hosts: Option<Vec<String>>,
    /// How strictly certificates are judged: `default`, or `emqx-cloud` (as EMQX Cloud accepts
    /// them: 60 days left, keys of RSA 2048, P-256 and P-384 only, the issuer's key of the same
    /// kind).
    #[schema(pattern = "^(default|emqx-cloud)$")]
    profile: Option<String>,
    /// The PROXY protocol header that the broker receives before a connection's first byte: `none`,
    /// or version 2 as `v2`, `emqx` or `mosquitto` read it.
    #[schema(rename = "proxyProtocol", pattern = "^(none|v2|emqx|mosquitto)$")]
    proxy_protocol: Option<String>,
    /// The part of a client certificate that is sent as the device's name: `cn`, `dn`, `san` or
    /// `fingerprint`.
    #[schema(rename = "proxyIdentity", pattern = "^(cn|dn|san|fingerprint)$")]
    proxy_identity: Option<String>,
    /// How many connections each node lets in at once; 0 for no limit.
    #[schema(minimum = 0, maximum = 1_000_000)]
    connections: Option<u32>,
    /// How many new connections each node lets in a second; 0 for no limit. After a quiet second as
    /// many may come at once.
    #[schema(rename = "connectionRate", minimum = 0, maximum = 1_000_000)]
    connection_rate: Option<u32>,
    /// The largest TLS record that devices are sent, in bytes of plaintext; 16384 when absent or
    /// null. A device that asks for smaller ones gets those.
    #[schema(rename = "recordBytes", minimum = 512, maximum = 16384)]
    record_bytes: Option<u16>,
}

/// Makes a deployment. An id that exists is 409, a host of another project's 422 `HOST_TAKEN`, an
/// upstream address that a deployment of another project uses 422 `UPSTREAM_TAKEN`, unless the key
/// has scope `admin` and sees all projects.
#[utoipa::path(post, path = "/public_api/v1/deployments", tag = "deployments", operation_id = "createDeployment",
    request_body = NewDeploymentBody,
    responses((status = 201, description = "Made.", body = DeploymentBody)))]
pub(crate) async fn create(
    State(api): State<Shared>,
    caller: Caller,
    request: Request,
) -> Result<Response, Error> {
    caller.require(Scope::Deployments)?;
    let new = read(&body::read(request, api.settings.deadlines.body).await?)?;
    let deployment = api.lifecycle.create_deployment(&caller.key, new).await?;
    Ok((StatusCode::CREATED, Json(api.deployment_body(deployment))).into_response())
}

fn read(bytes: &[u8]) -> Result<NewDeployment, Error> {
    let mut it = Properties::read(bytes)?;
    let id = it.deployment_id("deploymentID");
    let name = it.name("deploymentName").unwrap_or_default();
    let project = it.project_id("projectID");
    let upstream = it.required_upstream("upstream");
    let ws_upstream = it.removable_upstream("wsUpstream").flatten();
    let hosts = it.hosts("hosts").unwrap_or_default();
    let profile = it.profile("profile").unwrap_or_default();
    let proxy = Proxy {
        protocol: it.proxy_protocol("proxyProtocol").unwrap_or_default(),
        identity: it.proxy_identity("proxyIdentity").unwrap_or_default(),
    };
    let limits = ConnectionLimits {
        at_once: it.connection_limit("connections").flatten(),
        per_second: it.connection_limit("connectionRate").flatten(),
    };
    let record_bytes = it.record_bytes("recordBytes").unwrap_or_default();
    it.finish()?;
    // `finish` fails without an upstream.
    let upstream = upstream.ok_or(Error::Internal)?;
    Ok(NewDeployment {
        id,
        name,
        project,
        upstream,
        ws_upstream,
        hosts,
        profile,
        proxy,
        limits,
        record_bytes,
    })
}

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_store::{DeploymentPatch, Scope};
use utoipa::ToSchema;

use super::body::{DeploymentBody, read_settings};
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, HostText, LabelText, ProfileWord, UpstreamText},
    path_id::PathId,
    property::Properties,
};

/// What to change of a deployment; what is absent stays.
// `add_settings` adds the other settings.
#[derive(ToSchema)]
#[schema(as = DeploymentChange)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct DeploymentChangeBody {
    /// For people; at most 200 characters.
    #[schema(rename = "deploymentName", value_type = Option<LabelText>)]
    deployment_name: Option<String>,
    /// The broker's plain MQTT address, `HOST:PORT`; or up to 8, separated by commas, tried in this
    /// order.
    #[schema(value_type = Option<UpstreamText>)]
    upstream: Option<String>,
    /// The broker's plain WebSocket address, `HOST:PORT`, or up to 8, separated by commas; null or
    /// empty takes it away.
    #[schema(
        rename = "wsUpstream",
        pattern = r"^([^,\s]+:[0-9]+(,[^,\s]+:[0-9]+){0,7})?$",
        max_length = 2100,
        example = "127.0.0.1:8083"
    )]
    ws_upstream: Option<String>,
    /// All DNS names that are to lead here from now on.
    #[schema(value_type = Option<Vec<HostText>>, max_items = 1000)]
    hosts: Option<Vec<String>>,
    /// For uploads from now on.
    #[schema(value_type = Option<ProfileWord>)]
    profile: Option<String>,
    /// The largest TLS record that devices are sent, in bytes of plaintext; null for the default,
    /// 16384. A device that asks for smaller ones gets those. Connections that are there keep what
    /// they have.
    #[schema(rename = "recordBytes", minimum = 512, maximum = 16384)]
    record_bytes: Option<u16>,
}

/// Changes a deployment. New hosts make its certificate `pending` until every counted node has
/// proved it again. A new upstream address that a deployment of another project uses is 422
/// `UPSTREAM_TAKEN`, unless the key has scope `admin` and sees all projects.
#[utoipa::path(patch, path = "/deployments/{id}", tag = "deployments",
    operation_id = "changeDeployment",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    request_body = DeploymentChangeBody,
    responses((status = 200, description = "The deployment after the change.", body = DeploymentBody)))]
pub(crate) async fn change(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Deployments), &id).await?;
    let patch = read(&body::read(request, api.settings.deadlines.body).await?)?;
    let deployment =
        api.lifecycle.change_deployment(caller.requester(), &deployment.reference(), patch).await?;
    Ok(Json(api.deployment_body_now(deployment).await?).into_response())
}

fn read(bytes: &[u8]) -> Result<DeploymentPatch, Error> {
    let mut it = Properties::read(bytes)?;
    let name = it.name("deploymentName");
    let upstream = it.upstream("upstream");
    let patch = DeploymentPatch { name, upstream, ..read_settings(&mut it) };
    it.finish()?;
    Ok(patch)
}

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::NewDeployment;
use certward_store::{DeploymentPatch, DeploymentSpec, Scope};
use http::StatusCode;
use utoipa::ToSchema;

use super::body::{DeploymentBody, read_settings};
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, LabelText, ProjectIdText, UpstreamText},
    property::Properties,
};

/// A deployment to make.
// `add_settings` adds the other settings.
#[derive(ToSchema)]
#[schema(as = NewDeployment)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewDeploymentBody {
    /// 1 to 63 of `a-z 0-9 -`, not starting with `-`; drawn when absent.
    #[schema(rename = "deploymentID", value_type = Option<DeploymentIdText>)]
    deployment_id: Option<String>,
    /// For people; at most 200 characters.
    #[schema(rename = "deploymentName", value_type = Option<LabelText>)]
    deployment_name: Option<String>,
    /// `default` when absent.
    #[schema(rename = "projectID", value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// The broker's plain MQTT address, `HOST:PORT`; or up to 8, separated by commas, tried in this
    /// order.
    #[schema(value_type = UpstreamText)]
    upstream: String,
}

/// Makes a deployment. An id that exists is 409, a host of another project's 422 `HOST_TAKEN`, an
/// upstream address that a deployment of another project uses 422 `UPSTREAM_TAKEN`, unless the key
/// has scope `admin` and sees all projects.
#[utoipa::path(post, path = "/deployments", tag = "deployments", operation_id = "createDeployment",
    request_body = NewDeploymentBody,
    responses((status = 201, description = "Made.", body = DeploymentBody)))]
pub(crate) async fn create(
    State(api): State<Shared>,
    caller: Caller,
    request: Request,
) -> Result<Response, Error> {
    caller.require(Scope::Deployments)?;
    let new = read(&body::read(request, api.settings.deadlines.body).await?)?;
    let deployment = api.lifecycle.create_deployment(caller.requester(), new).await?;
    // For the access log: the path does not name it.
    let id = Extension(deployment.id.clone());
    Ok((StatusCode::CREATED, id, Json(api.deployment_body_now(deployment).await?)).into_response())
}

fn read(bytes: &[u8]) -> Result<NewDeployment, Error> {
    let mut it = Properties::read(bytes)?;
    let id = it.deployment_id("deploymentID");
    let name = it.name("deploymentName");
    let project = it.project_id("projectID");
    let upstream = it.required_upstream("upstream");
    let settings = DeploymentPatch { name, ..read_settings(&mut it) };
    it.finish()?;
    // `finish` fails without an upstream.
    let upstream = upstream.ok_or(Error::Internal)?;
    Ok(NewDeployment { id, project, spec: settings.applied_to(DeploymentSpec::new(upstream)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_property_is_named_at_once() {
        let body = r#"{"deploymentID":"-A","deploymentName":"a\nb","projectID":7,"hosts":["ok","10.0.0.1",3],
                       "wsUpstream":"nowhere","profile":"Default","connections":-1,"connectionRate":1.5,
                       "recordBytes":511}"#;
        let Err(Error::Unprocessable(wrong)) = read(body.as_bytes()) else { panic!("it is refused") };
        let wrong = wrong.into_iter();
        let found: Vec<_> = wrong.map(|it| (it.code, it.field, it.item.map(|item| item.index))).collect();
        let expected = [
            ("DEPLOYMENT_ID_INVALID", "deploymentID", None),
            ("TEXT_INVALID", "deploymentName", None),
            ("PROJECT_ID_INVALID", "projectID", None),
            ("UPSTREAM_INVALID", "upstream", None),
            ("UPSTREAM_INVALID", "wsUpstream", None),
            ("HOST_INVALID", "hosts", Some(1)),
            ("HOST_INVALID", "hosts", Some(2)),
            ("PROFILE_INVALID", "profile", None),
            ("LIMIT_INVALID", "connections", None),
            ("LIMIT_INVALID", "connectionRate", None),
            ("RECORD_BYTES_INVALID", "recordBytes", None),
        ];
        assert_eq!(found, expected.map(|(code, field, item)| (code.to_owned(), field.to_owned(), item)));
    }
}

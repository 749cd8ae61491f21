use std::collections::HashMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::Method;
use serde::Serialize;
use utoipa::ToSchema;

use super::DeploymentBody;
use crate::{auth::Caller, context::Shared, error::Error};

/// A deployment as it stands in the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedDeployment)]
pub(crate) struct Listed {
    #[serde(flatten)]
    deployment: DeploymentBody,
    /// The name of its project.
    #[serde(rename = "projectName")]
    project_name: String,
    /// Always `v5`.
    #[schema(example = "v5")]
    version: &'static str,
}

/// The deployments that the key sees, by id. Any scope.
#[utoipa::path(get, path = "/public_api/v1/deployments", tag = "deployments", operation_id = "listDeployments",
    responses((status = 200, description = "A bare array.", body = [Listed])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Response, Error> {
    api.limited(&caller, "/deployments", Method::Neighbours, async {
        let store = api.lifecycle.store();
        let names: HashMap<_, _> =
            store.projects().await?.into_iter().map(|project| (project.id, project.name)).collect();
        let deployments = store.deployments(caller.projects.as_deref()).await?;
        let listed = deployments.into_iter().map(|deployment| Listed {
            project_name: names.get(&deployment.project).cloned().unwrap_or_default(),
            version: "v5",
            deployment: api.deployment_body(deployment),
        });
        Ok(Json(listed.collect::<Vec<_>>()).into_response())
    })
    .await
}

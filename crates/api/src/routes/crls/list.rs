use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};

use super::{body::CrlBody, crl_path::subject};
use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::DeploymentIdText, path_id::PathId,
};

/// The CRLs of a deployment, by id; at most 20. Counted on its own. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/tls/crls", tag = "revocation", operation_id = "listCrls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 200, description = "A bare array.", body = [CrlBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    api.limited(&caller, &subject(&deployment), Method::Neighbours, async {
        let crls = api.lifecycle.crls(&deployment.reference()).await?.ok_or(Error::DeploymentNotFound)?;
        let now = api.lifecycle.store().clock().now();
        Ok(Json(crls.into_iter().map(|crl| CrlBody::of(crl, now)).collect::<Vec<_>>()).into_response())
    })
    .await
}

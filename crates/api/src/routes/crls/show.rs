use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};
use http::Uri;

use super::{
    body::CrlBody,
    crl_path::{existing, subject},
};
use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{CrlIdText, DeploymentIdText},
    path_id::PathId,
};

/// A CRL of a deployment, and how fetching it goes. Counted with the list. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/tls/crls/{crl}", tag = "revocation", operation_id = "getCrl",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("crl" = CrlIdText, Path, description = "The CRL's id.")),
    responses((status = 200, description = "As of now.", body = CrlBody)))]
pub(crate) async fn show(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    api.limited(&caller, &subject(&deployment), Method::Neighbours, async {
        let wanted = existing(uri.path())?;
        let crls = api.lifecycle.crls(&deployment.reference()).await?.ok_or(Error::DeploymentNotFound)?;
        let found = crls.into_iter().find(|crl| crl.id == wanted).ok_or(Error::CrlNotFound)?;
        Ok(Json(CrlBody::of(found, api.lifecycle.store().clock().now())).into_response())
    })
    .await
}

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};
use http::{StatusCode, Uri};

use crate::{
    auth::Caller, context::Shared, detail::Detail, error::Error, openapi::vocabulary::DeploymentIdText,
    path_id::PathId,
};

/// Removes the certificate of a deployment, erases its keys and disconnects its clients.
///
/// It takes no query parameter: one is 422, since it asks for something that would not be done.
#[utoipa::path(delete, path = "/deployments/{id}/tls", tag = "tls", operation_id = "deleteTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 204, description = "Durable; the nodes stop serving it.")))]
pub(crate) async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    api.limited(&caller, deployment.id.as_str(), Method::Delete, async {
        if uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(Error::Unprocessable(vec![Detail::unexpected_query()]));
        }
        let change = api.lifecycle.delete_tls(caller.requester(), &deployment.reference()).await?;
        Ok((StatusCode::NO_CONTENT, Extension(change)).into_response())
    })
    .await
}

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};
use http::{StatusCode, Uri};

use crate::{
    auth::Caller,
    close_rate::{self, CLOSE_RATE},
    context::Shared,
    detail::Detail,
    error::Error,
    openapi::vocabulary::DeploymentIdText,
    page::ListQuery,
    path_id::PathId,
};

/// Removes the certificate of a deployment, erases its keys and disconnects its clients.
///
/// It takes no query parameter but `closeRate`: another is 422, since it asks for something that
/// would not be done.
#[utoipa::path(delete, path = "/deployments/{id}/tls", tag = "tls", operation_id = "deleteTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("closeRate" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "How many devices are disconnected in a second, over all nodes; all at once when absent. `terminated` lasts until the last.")),
    responses((status = 204, description = "Durable; the nodes stop serving it.")))]
pub(crate) async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    api.limited(&caller, deployment.id.as_str(), Method::Delete, async {
        let query = ListQuery::read(&uri)?;
        if !query.has_only(CLOSE_RATE) {
            return Err(Error::Unprocessable(vec![Detail::unexpected_query()]));
        }
        let rate = close_rate::read(&query)?;
        let change = api.lifecycle.delete_tls(caller.requester(), &deployment.reference(), rate).await?;
        Ok((StatusCode::NO_CONTENT, Extension(change)).into_response())
    })
    .await
}

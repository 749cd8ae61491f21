use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_store::{Method, Scope};

use super::body::TlsBody;
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    path_id::PathId,
    upload::{self, UploadBody},
};

/// Replaces the certificate of a deployment; where none is set it is 404 `TLS_NOT_FOUND`.
#[utoipa::path(put, path = "/public_api/v1/deployments/{id}/tls", tag = "tls", operation_id = "replaceTls",
    params(("id" = String, Path, description = "The deployment's id.")),
    request_body = UploadBody,
    responses((status = 200, description = "Durable; `pending` until every counted node has proved it.", body = TlsBody)))]
pub(crate) async fn replace(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    api.limited(&caller, deployment.id.as_str(), Method::Put, async {
        let upload = upload::read(&body::read(request, api.settings.deadlines.body).await?)?;
        api.require_still(&caller, Scope::Tls, &deployment).await?;
        let set = api.lifecycle.replace_tls(&caller.key, &deployment.reference(), upload.into()).await;
        if set.is_err() {
            // The error reveals the deployment's state.
            api.require_still(&caller, Scope::Tls, &deployment).await?;
        }
        Ok(Json(TlsBody::from(set?)).into_response())
    })
    .await
}

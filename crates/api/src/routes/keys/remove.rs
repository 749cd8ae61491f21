use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{ApiKey, Scope};
use http::StatusCode;

use crate::{auth::Caller, context::Shared, error::Error, openapi::vocabulary::ApiKeyText, path_id::PathId};

/// Revokes an API key. The last `admin` key stays (409). Needs scope `admin`.
#[utoipa::path(delete, path = "/keys/{key}", tag = "keys", operation_id = "deleteKey",
    params(("key" = ApiKeyText, Path, description = "The public half of the key.")),
    responses((status = 204, description = "Revoked.")))]
pub(crate) async fn remove(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let key = id.parse(ApiKey::parse).ok_or(Error::NotFound("The API key does not exist."))?;
    api.lifecycle.revoke_key(caller.requester(), &key).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::AlertChannelError;
use certward_store::{ChannelId, Scope};
use http::StatusCode;

use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::ChannelIdText, path_id::PathId,
};

/// Removes an alert channel with its deliveries. Needs scope `admin`.
#[utoipa::path(delete, path = "/alert-channels/{id}", tag = "expiry", operation_id = "deleteAlertChannel",
    params(("id" = ChannelIdText, Path, description = "The channel's id.")),
    responses((status = 204, description = "Removed.")))]
pub(crate) async fn remove(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let id = id.parse(|text| ChannelId::parse(text).ok()).ok_or(AlertChannelError::NotFound)?;
    api.lifecycle.remove_alert_channel(caller.requester(), &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

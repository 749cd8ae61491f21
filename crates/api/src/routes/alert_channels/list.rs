use axum::{Json, extract::State};
use certward_store::Scope;

use super::body::ChannelBody;
use crate::{auth::Caller, context::Shared, error::Error};

/// The alert channels, oldest first. A key limited to projects sees theirs. Needs scope `admin`.
#[utoipa::path(get, path = "/alert-channels", tag = "expiry", operation_id = "listAlertChannels",
    responses((status = 200, description = "A bare array.", body = [ChannelBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Json<Vec<ChannelBody>>, Error> {
    caller.require(Scope::Admin)?;
    let channels = api.lifecycle.alert_channels(&caller).await?;
    Ok(Json(channels.iter().map(ChannelBody::from).collect()))
}

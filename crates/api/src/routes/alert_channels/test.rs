use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::AlertChannelError;
use certward_store::{ChannelId, Method, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{ChannelIdText, SentenceText},
    path_id::PathId,
};

/// What came of a test message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertTest)]
pub(crate) struct TestBody {
    /// Whether the receiver accepted it.
    delivered: bool,
    /// Why not: a code, such as `timed_out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[a-z][a-z_]*$", max_length = 64, example = "timed_out")]
    failure: Option<&'static str>,
    /// The status that the receiver answered with, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 100, maximum = 599, example = 503)]
    status: Option<u16>,
    /// What happened, in one sentence.
    #[schema(value_type = SentenceText)]
    message: String,
}

/// Sends a test message to an alert channel, once and now. Needs scope `admin`.
#[utoipa::path(post, path = "/alert-channels/{id}/test", tag = "expiry", operation_id = "testAlertChannel",
    params(("id" = ChannelIdText, Path, description = "The channel's id.")),
    responses((status = 200, description = "Tried; see `delivered`.", body = TestBody)))]
pub(crate) async fn test(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let id = id.parse(|text| ChannelId::parse(text).ok()).ok_or(AlertChannelError::NotFound)?;
    let channels = api.lifecycle.alert_channels(&caller).await?;
    if channels.iter().all(|channel| channel.id != id) {
        return Err(AlertChannelError::NotFound.into());
    }
    let subject = format!("/alert-channels/{id}");
    api.limited(&caller, &subject, Method::Check, async {
        let sent = api.lifecycle.test_alert_channel(&caller, &id).await?;
        let body = match sent {
            Ok(()) => TestBody {
                delivered: true,
                failure: None,
                status: None,
                message: "The receiver accepted the message.".to_owned(),
            },
            // Its address would tell a tenant about the operator's network.
            Err(why) if why.code == "not_allowed" && caller.projects.is_some() => TestBody {
                delivered: false,
                failure: Some(why.code),
                status: None,
                message: "Not delivered: the receiver's address is in no network of alert_allow.".to_owned(),
            },
            Err(why) => TestBody {
                delivered: false,
                failure: Some(why.code),
                status: why.status,
                message: format!("Not delivered: {}.", why.sentence),
            },
        };
        Ok(Json(body).into_response())
    })
    .await
}

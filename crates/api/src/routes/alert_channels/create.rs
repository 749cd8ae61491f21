use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::NewAlertChannel;
use certward_store::{AlertReceiver, Scope};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::ChannelBody;
use crate::{auth::Caller, body, context::Shared, error::Error, property::Properties};

/// An alert channel to make.
#[derive(ToSchema)]
#[schema(as = NewAlertChannel)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewChannelBody {
    /// `webhook` or `mail`.
    #[schema(rename = "type", pattern = "^(webhook|mail)$")]
    kind: String,
    /// For people.
    name: Option<String>,
    /// Whose alerts; absent: those of all projects and the operator's.
    #[schema(rename = "projectID")]
    project_id: Option<String>,
    /// Of a webhook: http or https.
    url: Option<String>,
    /// Of a webhook: `whsec_` and 24 to 64 bytes in base64, as Standard Webhooks has it; drawn when
    /// absent.
    secret: Option<String>,
    /// Of mail: the server's name or address.
    host: Option<String>,
    /// Of mail: 465 with `tls`, 587 with `starttls`, 25 with `plain` when absent.
    port: Option<u16>,
    /// Of mail: `tls` (from the first byte), `starttls` (required), or `plain`; `starttls` when
    /// absent.
    #[schema(pattern = "^(tls|starttls|plain)$")]
    security: Option<String>,
    /// Of mail: who authenticates.
    username: Option<String>,
    /// Of mail.
    password: Option<String>,
    /// Of mail: the sender's address.
    from: Option<String>,
    /// Of mail: 1 to 20 addresses.
    to: Option<Vec<String>>,
}

/// A new alert channel. The secret of a webhook is shown here and never again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewAlertChannelWithSecret)]
pub(crate) struct NewChannelAnswer<'a> {
    #[serde(flatten)]
    channel: ChannelBody,
    /// What the receiver verifies signatures with; of a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<&'a str>,
}

/// Makes an alert channel. It receives what is recorded from then on. `[alerts] alert_allow` of the
/// configuration must permit its network. Needs scope `admin`; for all projects, a key that sees
/// all.
#[utoipa::path(post, path = "/public_api/v1/alert-channels", tag = "expiry", operation_id = "createAlertChannel",
    request_body = NewChannelBody,
    responses((status = 201, description = "Made; the secret is shown once.", body = NewChannelAnswer)))]
pub(crate) async fn create(
    State(api): State<Shared>,
    caller: Caller,
    request: Request,
) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let mut it = Properties::read(&body::read(request, api.settings.deadlines.body).await?)?;
    let name = it.name("name").unwrap_or_default();
    let project = it.project_id("projectID");
    let receiver = it.receiver(api.lifecycle.drawn_key());
    it.finish()?;
    // Without one there is a fault, which `finish` reports.
    let receiver = receiver.ok_or(Error::Internal)?;
    let new = NewAlertChannel { name, project, receiver };
    let channel = api.lifecycle.create_alert_channel(caller.requester(), new).await?;
    let secret = match &channel.receiver {
        AlertReceiver::Webhook { secret, .. } => Some(secret.expose()),
        AlertReceiver::Mail { .. } => None,
    };
    let answer = NewChannelAnswer { channel: ChannelBody::from(&channel), secret };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

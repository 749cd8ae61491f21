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
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    openapi::vocabulary::{
        LabelText, MailAddressText, MailSecurityWord, MailTypeWord, ProjectIdText, WebhookTypeWord,
    },
    property::Properties,
};

/// An alert channel to make: a webhook or mail. Fields of the other are ignored.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = NewAlertChannel)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum NewChannelBody {
    Webhook(NewWebhookBody),
    Mail(NewMailBody),
}

/// A webhook to make.
#[derive(ToSchema)]
#[schema(as = NewWebhookChannel)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewWebhookBody {
    #[schema(rename = "type", value_type = WebhookTypeWord)]
    kind: String,
    /// For people.
    #[schema(value_type = Option<LabelText>)]
    name: Option<String>,
    /// Whose alerts; absent: those of all projects and the operator's.
    #[schema(rename = "projectID", value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// http or https.
    #[schema(
        pattern = "^[Hh][Tt][Tt][Pp][Ss]?://",
        max_length = 2048,
        example = "https://hooks.example.com/certward"
    )]
    url: String,
    /// `whsec_` and 24 to 64 bytes in base64, as Standard Webhooks has it; drawn when absent.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$", max_length = 94)]
    secret: Option<String>,
}

/// Mail to make.
#[derive(ToSchema)]
#[schema(as = NewMailChannel)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewMailBody {
    #[schema(rename = "type", value_type = MailTypeWord)]
    kind: String,
    /// For people.
    #[schema(value_type = Option<LabelText>)]
    name: Option<String>,
    /// Whose alerts; absent: those of all projects and the operator's.
    #[schema(rename = "projectID", value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// The server's name or address.
    #[schema(min_length = 1, max_length = 253, example = "smtp.example.com")]
    host: String,
    /// 465 with `tls`, 587 with `starttls`, 25 with `plain` when absent.
    #[schema(minimum = 1, maximum = 65535, example = 587)]
    port: Option<u16>,
    /// `starttls` when absent.
    #[schema(value_type = Option<MailSecurityWord>)]
    security: Option<String>,
    /// Who authenticates.
    #[schema(min_length = 1, max_length = 255)]
    username: Option<String>,
    #[schema(min_length = 1, max_length = 255, format = Password)]
    password: Option<String>,
    /// The sender's address.
    #[schema(value_type = MailAddressText)]
    from: String,
    /// 1 to 20 addresses.
    #[schema(value_type = Vec<MailAddressText>, min_items = 1, max_items = 20)]
    to: Vec<String>,
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
    #[schema(nullable = false, pattern = "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$")]
    secret: Option<&'a str>,
}

/// Makes an alert channel. It receives what is recorded from then on. `[alerts] alert_allow` of the
/// configuration must permit its network. Needs scope `admin`; for all projects, a key that sees
/// all.
#[utoipa::path(post, path = "/alert-channels", tag = "expiry", operation_id = "createAlertChannel",
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

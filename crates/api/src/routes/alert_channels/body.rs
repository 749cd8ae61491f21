use certward_store::{AlertChannel, AlertReceiver, WebhookUrl};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::vocabulary::{
        ChannelIdText, ChannelTypeWord, LabelText, MailAddressText, MailSecurityWord, ProjectIdText,
        UtcMinuteText,
    },
    wire_time,
};

/// An alert channel, without its secrets. Of a webhook's URL only the origin is shown: its path may
/// be a secret.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertChannel)]
pub(crate) struct ChannelBody {
    #[serde(rename = "channelID")]
    #[schema(value_type = ChannelIdText)]
    channel_id: String,
    /// For people; may be empty.
    #[schema(value_type = LabelText)]
    name: String,
    /// Whose alerts; absent: those of all projects and the operator's.
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ProjectIdText>)]
    project_id: Option<String>,
    /// When it was made, UTC.
    #[schema(value_type = UtcMinuteText)]
    create_at: String,
    #[serde(rename = "type")]
    #[schema(value_type = ChannelTypeWord)]
    kind: &'static str,
    /// Of a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 2048, example = "https://hooks.example.com/…")]
    url: Option<String>,
    /// Of mail, as all that follow: the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 253, example = "smtp.example.com")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 65535, example = 587)]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<MailSecurityWord>)]
    security: Option<&'static str>,
    /// Absent without authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    username: Option<String>,
    /// The sender's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<MailAddressText>)]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<MailAddressText>>, min_items = 1, max_items = 20)]
    to: Option<Vec<String>>,
}

impl From<&AlertChannel> for ChannelBody {
    fn from(channel: &AlertChannel) -> Self {
        Self {
            channel_id: channel.id.to_string(),
            name: channel.name.clone(),
            project_id: channel.project.as_ref().map(ToString::to_string),
            create_at: wire_time::to_the_minute(channel.created_at),
            ..Self::receiver(&channel.receiver)
        }
    }
}

impl ChannelBody {
    fn receiver(receiver: &AlertReceiver) -> Self {
        match receiver {
            AlertReceiver::Webhook { url, .. } => {
                Self { kind: "webhook", url: Some(shown(url)), ..Self::default() }
            }
            AlertReceiver::Mail { settings, .. } => {
                let server = settings.server();
                Self {
                    kind: "mail",
                    host: Some(server.host().to_owned()),
                    port: Some(server.port()),
                    security: Some(server.security().as_str()),
                    username: server.username().map(str::to_owned),
                    from: Some(settings.from().to_string()),
                    to: Some(settings.to().iter().map(ToString::to_string).collect()),
                    ..Self::default()
                }
            }
        }
    }
}

fn shown(url: &WebhookUrl) -> String {
    let origin = url.as_url().origin().ascii_serialization();
    let is_bare = url.as_url().path() == "/" && url.as_url().query().is_none();
    format!("{origin}/{}", if is_bare { "" } else { "…" })
}

use certward_store::{AlertChannel, AlertReceiver, WebhookUrl};
use serde::Serialize;
use utoipa::ToSchema;

use crate::wire_time;

/// An alert channel, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertChannel)]
pub(crate) struct ChannelBody {
    #[serde(rename = "channelID")]
    channel_id: String,
    /// For people.
    name: String,
    /// Whose alerts; absent: those of all projects and the operator's.
    #[serde(rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    project_id: Option<String>,
    /// When it was made, UTC.
    #[schema(example = "2024-11-21 02:51")]
    create_at: String,
    #[serde(flatten)]
    receiver: ReceiverBody,
}

/// Where to. Of a webhook's URL only the origin is shown: its path may be a secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
#[schema(as = AlertReceiver)]
pub(crate) enum ReceiverBody {
    #[serde(rename_all = "camelCase")]
    Webhook {
        #[schema(example = "https://hooks.example.com/…")]
        url: String,
    },
    #[serde(rename_all = "camelCase")]
    Mail {
        #[schema(example = "smtp.example.com")]
        host: String,
        #[schema(example = 587)]
        port: u16,
        /// `tls`, `starttls` or `plain`.
        #[schema(example = "starttls")]
        security: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        username: Option<String>,
        from: String,
        to: Vec<String>,
    },
}

impl From<&AlertChannel> for ChannelBody {
    fn from(channel: &AlertChannel) -> Self {
        Self {
            channel_id: channel.id.to_string(),
            name: channel.name.clone(),
            project_id: channel.project.as_ref().map(ToString::to_string),
            create_at: wire_time::to_the_minute(channel.created_at),
            receiver: ReceiverBody::from(&channel.receiver),
        }
    }
}

impl From<&AlertReceiver> for ReceiverBody {
    fn from(receiver: &AlertReceiver) -> Self {
        match receiver {
            AlertReceiver::Webhook { url, .. } => Self::Webhook { url: shown(url) },
            AlertReceiver::Mail { settings, .. } => {
                let server = settings.server();
                Self::Mail {
                    host: server.host().to_owned(),
                    port: server.port(),
                    security: server.security().as_str(),
                    username: server.username().map(str::to_owned),
                    from: settings.from().to_string(),
                    to: settings.to().iter().map(ToString::to_string).collect(),
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

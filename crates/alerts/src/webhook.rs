use certward_store::{Timestamp, WebhookSecret, WebhookUrl};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, timeout_at};

use crate::{AlertTransport, SendFailure, signature::signature};

/// One attempt of a webhook.
#[derive(Debug, Clone, Copy)]
pub struct WebhookMessage<'a> {
    /// The same for each attempt, by which a receiver detects repetitions.
    pub id: &'a str,
    /// Of this attempt; the receiver compares it with its clock.
    pub at: Timestamp,
    /// JSON.
    pub body: &'a str,
}

impl AlertTransport {
    /// Posts a signed webhook. Delivered: the receiver answered 2xx. The answer's body is not read.
    pub async fn post(
        &self,
        url: &WebhookUrl,
        secret: &WebhookSecret,
        message: &WebhookMessage<'_>,
    ) -> Result<(), SendFailure> {
        let until = Instant::now() + self.webhook_timeout;
        timeout_at(until, self.post_until(until, url, secret, message))
            .await
            .unwrap_or(Err(SendFailure::TimedOut))
    }

    async fn post_until(
        &self,
        until: Instant,
        url: &WebhookUrl,
        secret: &WebhookSecret,
        message: &WebhookMessage<'_>,
    ) -> Result<(), SendFailure> {
        let seconds = message.at.0.div_euclid(1000);
        let post = |client: &reqwest::Client| {
            client
                .post(url.as_url().clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .header("webhook-id", message.id)
                .header("webhook-timestamp", seconds)
                .header("webhook-signature", signature(secret, message.id, seconds, message.body))
                .body(message.body.to_owned())
        };
        let response = self.http.request(url.as_url(), until, post).await?;
        judged(response.status().as_u16())
    }
}

fn judged(status: u16) -> Result<(), SendFailure> {
    match status {
        200..300 => Ok(()),
        300..400 => Err(SendFailure::Redirect(status)),
        _ => Err(SendFailure::Status(status)),
    }
}

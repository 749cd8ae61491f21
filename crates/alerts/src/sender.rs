use certward_lifecycle::{AlertMessage, AlertSender, Sending, Undelivered};
use certward_store::{AlertReceiver, Timestamp};

use crate::{AlertTransport, MailMessage, SendFailure, WebhookMessage};

/// The receiver is gone for good (RFC 9110 §15.5.11).
const GONE: u16 = 410;

impl AlertSender for AlertTransport {
    fn send<'a>(
        &'a self,
        receiver: &'a AlertReceiver,
        message: &'a AlertMessage,
        now: Timestamp,
    ) -> Sending<'a> {
        Box::pin(async move {
            let AlertMessage { id, json, subject, text } = message;
            let sent = match receiver {
                AlertReceiver::Webhook { url, secret } => {
                    self.post(url, secret, &WebhookMessage { id, at: now, body: json }).await
                }
                AlertReceiver::Mail { settings, password } => {
                    let mail = MailMessage { id, subject, text, at: now };
                    self.mail(settings, password.as_ref(), &mail).await
                }
            };
            sent.map_err(Undelivered::from)
        })
    }

    fn may_reach_any(&self) -> bool {
        !self.http.allow().networks.is_empty()
    }
}

impl From<SendFailure> for Undelivered {
    fn from(failure: SendFailure) -> Self {
        let status = match failure {
            SendFailure::Status(status) | SendFailure::Redirect(status) | SendFailure::SmtpStatus(status) => {
                Some(status)
            }
            _ => None,
        };
        Self {
            code: failure.code(),
            status,
            sentence: failure.to_string(),
            is_final: failure == SendFailure::Status(GONE),
        }
    }
}

//! The outbound transport of alerts: signed webhooks (Standard Webhooks) and mail (SMTP).
//!
//! It sends one message once and reports a [`SendFailure`]; what to send, when and how often is
//! decided by the caller. Each connection goes to an address that `alert_allow` permits, by the
//! rules of `outbound`; of an answer only the status is kept.
//!
//! Start reading at [`AlertTransport`].

mod mail;
mod mail_status;
mod mail_text;
mod send_failure;
mod sender;
mod signature;
mod smtp_stream;
mod starttls;
mod transport;
mod webhook;

pub use mail_text::MailMessage;
pub use send_failure::SendFailure;
pub use transport::{AlertTransport, AlertTransportSettings};
pub use webhook::WebhookMessage;

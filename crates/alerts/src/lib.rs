//! The outbound transport of alerts: signed webhooks (Standard Webhooks) and mail (SMTP).
//!
//! It sends one message once and reports a [`SendFailure`]; what to send, when and how often is
//! decided by the caller. Each connection goes to an address that [`AlertAllow`] permits. No
//! redirect is followed and no proxy used; of an answer only the status is kept.
//!
//! Start reading at [`Outbound`], then `resolve.rs`.

mod allow;
mod mail;
mod mail_status;
mod mail_text;
mod outbound;
mod resolve;
mod send_failure;
mod sender;
mod signature;
mod smtp_stream;
mod starttls;
mod tls;
mod webhook;

pub use allow::AlertAllow;
pub use mail_text::MailMessage;
pub use outbound::{Outbound, OutboundSettings};
pub use send_failure::SendFailure;
pub use tls::OutboundError;
pub use webhook::WebhookMessage;

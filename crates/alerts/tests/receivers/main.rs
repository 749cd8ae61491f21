//! Alerts sent to real receivers: an HTTP server and an SMTP server (aiosmtpd), as processes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod mail;
mod proxy_variables;
mod receiver;
mod webhook;

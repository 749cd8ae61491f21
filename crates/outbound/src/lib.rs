//! What certward reaches beyond devices and brokers, with the one way to get there.
//!
//! Each connection goes to an address that an [`OutboundAllow`] permits. No redirect is followed and
//! no proxy used; no text of a server is kept in a failure.
//!
//! Start reading at `http.rs`, then `resolve.rs`.

mod allow;
mod http;
mod reach_failure;
mod resolve;
mod tls;

pub use allow::OutboundAllow;
pub use http::OutboundHttp;
pub use reach_failure::ReachFailure;
pub use resolve::connect_timeout;
pub use tls::{OutboundTlsError, client_config};

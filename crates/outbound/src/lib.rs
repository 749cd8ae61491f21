//! What certward reaches beyond devices and brokers, with the one way to get there.
//!
//! Each connection goes to an address that an [`OutboundAllow`] permits. No redirect is followed,
//! no proxy is used, and a failure holds no text of the server. [`OutboundHttp`] makes the requests
//! of alerts too; [`CrlTransport`] fetches CRLs.
//!
//! Start reading at `http.rs`, then `resolve.rs`.

mod allow;
mod crl_transport;
mod fetch_failure;
mod http;
mod reach_failure;
mod resolve;
mod tls;

pub use allow::OutboundAllow;
pub use crl_transport::{CrlTransport, CrlTransportSettings};
pub use fetch_failure::FetchFailure;
pub use http::OutboundHttp;
pub use reach_failure::ReachFailure;
pub use resolve::connect_timeout;
pub use tls::{OutboundTlsError, client_config};

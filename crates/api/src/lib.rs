//! The HTTP API: routes, authentication, wire types, errors, OpenAPI.
//!
//! Carries `CONTRACT.md` over HTTP/1.1; decisions are [`certward_lifecycle::Lifecycle`]'s. HTTP
//! types stay here.
//!
//! Promises: a fixed order of checks (`access.rs`); bodies are read only from admitted callers and
//! wiped; no input causes a 5xx; nothing of a body, header or query is logged. Start at [`Api`],
//! then `routes.rs`.

mod access;
mod access_log;
mod any_json;
mod api_error;
mod api_limit;
mod audited_action;
mod auth;
mod body;
mod certificate;
mod close_rate;
mod connection;
mod connection_deadline;
mod context;
mod detail;
mod document;
mod documents;
mod error;
mod evictions;
mod exposition;
mod framing;
mod heads;
mod hyper_error_body;
mod impact_body;
mod json;
mod large_bodies;
mod limit;
mod login_guard;
mod metrics;
mod openapi;
mod page;
mod path_id;
mod places;
mod prefer;
mod property;
mod readiness;
mod refusal_code;
mod refusal_recorder;
mod refusal_sums;
mod request_origin;
mod routes;
mod server;
mod settings;
mod silent_nodes;
mod store_trouble;
mod upload;
mod wire_time;

pub use api_error::ApiError;
pub use certificate::Reloader;
pub use metrics::ApiMetrics;
pub use openapi::openapi;
pub use server::{Api, BoundApi, register_metrics};
pub use settings::{ApiDeadlines, ApiSettings, CertificateFiles, Limits};

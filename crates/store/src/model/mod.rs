//! Ids and value types: no SQL.

pub(crate) mod address_group;
pub(crate) mod api_key;
pub(crate) mod boundary;
pub(crate) mod clock;
pub(crate) mod connection_limit;
pub(crate) mod deployment;
pub(crate) mod deployment_spec;
pub(crate) mod embedded_ipv4;
pub(crate) mod ending;
pub(crate) mod ending_kind;
pub(crate) mod host_suffix;
pub(crate) mod id;
pub(crate) mod mail_address;
pub(crate) mod mail_password;
pub(crate) mod mail_server;
pub(crate) mod mail_settings;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod record_bytes;
pub(crate) mod tls_state;
pub(crate) mod upstream;
pub(crate) mod upstream_allow;
pub(crate) mod upstream_list;
pub(crate) mod webhook_secret;
pub(crate) mod webhook_url;

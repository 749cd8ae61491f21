use certward_store::Role;
use serde::{Deserialize, Deserializer, de::Error};

use super::Config;

pub(crate) fn parse(text: &str) -> Result<Role, String> {
    let allowed = || format!("{text:?} is no role: allowed are all, api and gateway");
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(allowed)
}

pub(super) fn role<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Ignored keys that differ from the default.
pub(super) fn ignored_keys(config: &Config) -> Vec<&'static str> {
    let Config { api, gateway, limits, alerts, crl, .. } = config;
    let default = Config::default();
    let of_gateway = [
        ("gateway.listener", gateway.listener.is_some()),
        ("gateway.default_deployment", gateway.default_deployment.is_some()),
        ("gateway.upstream_allow", gateway.upstream_allow.is_some()),
        ("gateway.upstream_source", !gateway.upstream_source.is_empty()),
        ("gateway.connections_per_address", gateway.connections_per_address.is_some()),
        ("gateway.handshake_within", gateway.handshake_within != default.gateway.handshake_within),
        ("gateway.connect_within", gateway.connect_within != default.gateway.connect_within),
        ("gateway.drain", gateway.drain != default.gateway.drain),
        ("gateway.stale_trust", gateway.stale_trust.is_some()),
        ("gateway.expired_sessions", gateway.expired_sessions != default.gateway.expired_sessions),
        ("gateway.devices", gateway.devices != default.gateway.devices),
    ];
    let of_api = [
        ("api.platform", api.platform != default.api.platform),
        ("api.region", api.region != default.api.region),
        ("limits.reads", limits.reads != default.limits.reads),
        ("limits.changes", limits.changes != default.limits.changes),
        ("limits.rollbacks", limits.rollbacks != default.limits.rollbacks),
        ("limits.client_cas", limits.client_cas != default.limits.client_cas),
        ("limits.revocations", limits.revocations != default.limits.revocations),
        ("limits.window", limits.window != default.limits.window),
        ("limits.deployments_per_project", limits.deployments_per_project != 0),
        ("alerts.alert_allow", !alerts.alert_allow.is_empty()),
        ("alerts.ca_file", alerts.ca_file.is_some()),
        ("alerts.rules", alerts.rules.is_some()),
        ("alerts.ca_rules", alerts.ca_rules.is_some()),
        ("crl.crl_allow", !crl.crl_allow.is_empty()),
        ("crl.ca_file", crl.ca_file.is_some()),
    ];
    let without_gateway = of_gateway.into_iter().filter(|_| !config.role.has_gateway());
    let without_api = of_api.into_iter().filter(|_| !config.role.has_api());
    without_gateway.chain(without_api).filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
}

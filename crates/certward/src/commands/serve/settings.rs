//! Settings of the crates, from the configuration.

use std::net::SocketAddr;

use certward_store::RequestLimit;

use crate::{config::Config, file_limit};

/// `files` is the limit of open files.
pub(super) fn of_api(config: &Config, files: u64) -> certward_api::ApiSettings {
    let (api, limits) = (&config.api, &config.limits);
    let limit = |requests| RequestLimit { requests, window: limits.window };
    let tls = api.cert.clone().zip(api.key.clone());
    certward_api::ApiSettings {
        tls: tls.map(|(cert, key)| certward_api::CertificateFiles { cert, key }),
        role: config.role,
        limits: certward_api::Limits {
            reads: limit(limits.reads),
            changes: limit(limits.changes),
            rollbacks: limit(limits.rollbacks),
            client_cas: limit(limits.client_cas),
            revocations: limit(limits.revocations),
        },
        platform: api.platform.clone(),
        region: api.region.clone(),
        connections_max: certward_api::ApiSettings::CONNECTIONS_MAX.min(file_limit::api_connections(files)),
        ..certward_api::ApiSettings::new(api.listen)
    }
}

/// `api`: devices must not be relayed to the API.
pub(super) fn of_gateway(config: &Config, api: SocketAddr, files: u64) -> certward_gateway::Settings {
    let (gateway, default) = (&config.gateway, certward_gateway::Settings::default());
    let room = file_limit::devices(files);
    certward_gateway::Settings {
        listeners: gateway.listeners(),
        default_deployment: gateway.default_deployment.clone(),
        upstream_allow: gateway
            .upstream_allow
            .as_ref()
            .map(|networks| networks.iter().map(|network| network.0).collect()),
        upstream_nat64: gateway.upstream_nat64.clone(),
        upstream_source: gateway.upstream_source.clone(),
        own_addresses: vec![api],
        connections_per_address_max: gateway.connections_per_address.map(|max| max as usize),
        lease: of_lifecycle(config).lease,
        stale_trust: gateway.stale_trust,
        expired_sessions: gateway.expired_sessions.into(),
        devices: gateway.devices.into(),
        deadlines: certward_gateway::Deadlines {
            handshake: gateway.handshake_within,
            first_packet: gateway.connect_within,
            drain: gateway.drain,
            ..default.deadlines
        },
        connections_max: default.connections_max.min(room.finished),
        unfinished_kept: room.unfinished_kept,
        ..default
    }
}

pub(super) fn of_lifecycle(config: &Config) -> certward_lifecycle::LifecycleSettings {
    certward_lifecycle::LifecycleSettings {
        prove_within: config.gateway.prove_within,
        deployments_per_project_max: config.limits.deployments_per_project,
        nat64: config.gateway.upstream_nat64.clone(),
        expiry_rules: config.alerts.expiry_rules(),
        ..certward_lifecycle::LifecycleSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_gateway_has_the_deadlines_of_the_configuration() {
        let mut config = Config::default();
        (config.gateway.handshake_within, config.gateway.connect_within, config.gateway.drain) =
            (Duration::from_secs(61), Duration::from_secs(62), Duration::from_secs(63));
        let deadlines = of_gateway(&config, SocketAddr::from(([127, 0, 0, 1], 1)), 1024).deadlines;
        let seconds = [deadlines.handshake, deadlines.first_packet, deadlines.drain].map(|d| d.as_secs());
        assert_eq!(seconds, [61, 62, 63]);
    }
}

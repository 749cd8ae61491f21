//! What sends alerts and what fetches CRLs, where any network is allowed. Nodes with the API do.

use std::{path::Path, sync::Arc};

use certward_alerts::{AlertTransport, AlertTransportSettings};
use certward_lifecycle::{AlertSender, CrlFetcher};
use certward_outbound::{CrlTransport, CrlTransportSettings, OutboundAllow, OutboundTlsError};

use crate::{
    config::{AlertsSection, Config, CrlSection, Network},
    usage::UsageError,
};

/// `None`: no alerts are sent.
pub(super) fn alert_sender(config: &Config) -> anyhow::Result<Option<Arc<dyn AlertSender>>> {
    let AlertsSection { alert_allow, ca_file, .. } = &config.alerts;
    if alert_allow.is_empty() || !config.role.has_api() {
        return Ok(None);
    }
    let ca = read_ca("alerts", ca_file.as_deref())?;
    let settings = AlertTransportSettings { ca, ..AlertTransportSettings::new(allow(config, alert_allow)) };
    let transport = AlertTransport::new(settings);
    let transport = transport.map_err(|error| explain("alerts", "alert_allow", error, ca_file.is_some()))?;
    Ok(Some(Arc::new(transport)))
}

/// `None`: no CRLs are fetched.
pub(super) fn crl_fetcher(config: &Config) -> anyhow::Result<Option<Arc<dyn CrlFetcher>>> {
    let CrlSection { crl_allow, ca_file } = &config.crl;
    if crl_allow.is_empty() || !config.role.has_api() {
        return Ok(None);
    }
    let ca = read_ca("crl", ca_file.as_deref())?;
    let settings = CrlTransportSettings { ca, ..CrlTransportSettings::new(allow(config, crl_allow)) };
    let transport = CrlTransport::new(settings);
    let transport = transport.map_err(|error| explain("crl", "crl_allow", error, ca_file.is_some()))?;
    Ok(Some(Arc::new(transport)))
}

fn allow(config: &Config, networks: &[Network]) -> OutboundAllow {
    OutboundAllow {
        networks: networks.iter().map(|network| network.0).collect(),
        nat64: config.gateway.upstream_nat64.clone(),
    }
}

fn read_ca(section: &str, file: Option<&Path>) -> Result<Option<Vec<u8>>, UsageError> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| {
            UsageError::new(format!("[{section}] ca_file: cannot read {}: {error}", file.display()))
        })
    };
    file.map(read).transpose()
}

fn explain(section: &str, allow_key: &str, error: OutboundTlsError, has_ca_file: bool) -> UsageError {
    let key = if has_ca_file { "ca_file" } else { allow_key };
    UsageError::new(format!("[{section}] {key}: {error}"))
}

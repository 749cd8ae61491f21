//! What sends alerts, where any network is allowed.

use std::{path::Path, sync::Arc};

use certward_alerts::{AlertTransport, AlertTransportSettings};
use certward_lifecycle::AlertSender;
use certward_outbound::{OutboundAllow, OutboundTlsError};

use crate::{
    config::{AlertsSection, Config},
    usage::UsageError,
};

/// `None`: no alerts are sent.
pub(super) fn of(config: &Config) -> anyhow::Result<Option<Arc<dyn AlertSender>>> {
    let AlertsSection { alert_allow, ca_file, .. } = &config.alerts;
    if alert_allow.is_empty() || !config.role.has_api() {
        return Ok(None);
    }
    let allow = OutboundAllow {
        networks: alert_allow.iter().map(|network| network.0).collect(),
        nat64: config.gateway.upstream_nat64.clone(),
    };
    let ca = ca_file.as_deref().map(read).transpose()?;
    let outbound = AlertTransport::new(AlertTransportSettings { ca, ..AlertTransportSettings::new(allow) });
    let outbound = outbound.map_err(|error| explain(error, ca_file.as_deref()))?;
    Ok(Some(Arc::new(outbound)))
}

fn read(file: &Path) -> Result<Vec<u8>, UsageError> {
    std::fs::read(file).map_err(|error| {
        UsageError::new(format!("[alerts] ca_file: cannot read {}: {error}", file.display()))
    })
}

fn explain(error: OutboundTlsError, ca_file: Option<&Path>) -> UsageError {
    let key = if ca_file.is_some() { "ca_file" } else { "alert_allow" };
    UsageError::new(format!("[alerts] {key}: {error}"))
}

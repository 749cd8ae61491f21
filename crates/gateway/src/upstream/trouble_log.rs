//! The log's lines about brokers that devices cannot use.

use certward_lifecycle::broker_remedy;
use certward_store::{DeploymentId, Timestamp};
use time::format_description::well_known::Rfc3339;
use tokio::time::{Duration, Instant};

use super::{broker::BrokerSettings, encounters::Trouble};
use crate::{Protocol, observe::metrics::NOT_CONFIGURED};

const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What the log has of a trouble.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TroubleLog {
    at: Option<Instant>,
    turned_away: u64,
}

impl TroubleLog {
    /// Whether more devices were turned away, a minute after the last line.
    pub(super) fn is_due(self, trouble: &Trouble, now: Instant) -> bool {
        let is_time = self.at.is_none_or(|at| now.saturating_duration_since(at) >= LOG_INTERVAL);
        is_time && trouble.turned_away > self.turned_away
    }

    pub(super) fn is_written(&mut self, trouble: &Trouble, now: Instant) {
        *self = Self { at: Some(now), turned_away: trouble.turned_away };
    }

    pub(super) fn was_written(self) -> bool {
        self.at.is_some()
    }
}

/// At its begin, for a new reason, and once a minute.
pub(super) fn log_trouble(
    deployment: &DeploymentId,
    protocol: Protocol,
    settings: &BrokerSettings,
    trouble: &Trouble,
) {
    let Trouble { reason, error, since, turned_away, disconnected, .. } = trouble;
    let upstream = settings.upstream();
    let broker = match *reason {
        NOT_CONFIGURED => format!("{deployment} has no broker for {protocol} devices"),
        _ => format!("the broker {upstream} of {deployment} cannot be used: {error}"),
    };
    let remedy = broker_remedy(reason, deployment, protocol.as_str(), settings.proxy);
    tracing::warn!(
        deployment.id = %deployment,
        listener = protocol.as_str(),
        reason,
        since = %in_log(*since),
        turned_away,
        disconnected,
        "{broker}; {remedy}"
    );
}

/// As the log's own times.
fn in_log(time: Timestamp) -> String {
    time.to_time().format(&Rfc3339).unwrap_or_default()
}

pub(super) fn log_over(
    deployment: &DeploymentId,
    protocol: Protocol,
    settings: &BrokerSettings,
    trouble: &Trouble,
) {
    tracing::info!(
        deployment.id = %deployment,
        listener = protocol.as_str(),
        since = %in_log(trouble.since),
        turned_away = trouble.turned_away,
        disconnected = trouble.disconnected,
        "the broker {} of {deployment} can be used again", settings.upstream()
    );
}

pub(super) fn log_more(deployments: usize) {
    tracing::warn!(
        count = deployments,
        "brokers of more deployments cannot be used; certward status lists them"
    );
}

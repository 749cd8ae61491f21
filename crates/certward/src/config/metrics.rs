use serde::Deserialize;

/// `[metrics]`: what `/metrics` shows.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MetricsSection {
    /// A series for each of the 10,000 certificates that end first: `false`, because a million
    /// deployments are no labels.
    pub(crate) per_deployment: bool,
}

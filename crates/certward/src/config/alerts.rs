use std::path::PathBuf;

use certward_lifecycle::{ExpiryRule, ExpiryRules};
use serde::{Deserialize, Deserializer, de::Error};

use super::Network;

/// `[alerts]`: what is said about certificates and keys that end, and where to.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AlertsSection {
    /// The networks that webhooks and mail servers may be in: none. Checked on the resolved address
    /// at every connect.
    pub(crate) alert_allow: Vec<Network>,
    /// A file of CAs, PEM, that webhooks and mail servers are trusted by, beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// For leaves and API keys: `1/5`, `1/10`, `1/30` of the lifetime, or days such as `7d`; at
    /// most 10. The end is always among them.
    #[serde(deserialize_with = "rules")]
    pub(crate) rules: Option<Vec<ExpiryRule>>,
    /// For intermediates and client CAs; as `rules`.
    #[serde(deserialize_with = "rules")]
    pub(crate) ca_rules: Option<Vec<ExpiryRule>>,
}

impl AlertsSection {
    pub(crate) fn expiry_rules(&self) -> ExpiryRules {
        // The number of rules was checked.
        ExpiryRules::with(self.rules.clone(), self.ca_rules.clone()).unwrap_or_default()
    }
}

fn rules<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<ExpiryRule>>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let rules = texts
        .iter()
        .map(|text| text.parse().map_err(|error| D::Error::custom(format!("{text:?} is no rule: {error}"))))
        .collect::<Result<Vec<ExpiryRule>, _>>()?;
    ExpiryRules::with(Some(rules.clone()), None).map_err(D::Error::custom)?;
    Ok(Some(rules))
}

use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VersionAnswer {
    pub(crate) version: i64,
    pub(crate) accepted_at: String,
    pub(crate) accepted_by: Option<String>,
    pub(crate) status: String,
    pub(crate) proven: bool,
    pub(crate) restores: Option<i64>,
    pub(crate) tls_type: String,
    pub(crate) cn: Option<String>,
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) key_kind: String,
    /// Of versions with one key it is the same.
    pub(crate) key_fingerprint: String,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    pub(crate) chain: Vec<ListedCertificateAnswer>,
    #[serde(rename = "clientCAs")]
    pub(crate) client_cas: Vec<ListedCertificateAnswer>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ListedCertificateAnswer {
    pub(crate) subject: String,
    pub(crate) fingerprint: String,
}

impl VersionAnswer {
    /// Whether devices that `before` trusts may be refused.
    pub(crate) fn narrows(&self, before: &Self) -> bool {
        let is_dropped = |ca: &ListedCertificateAnswer| {
            self.client_cas.iter().all(|kept| kept.fingerprint != ca.fingerprint)
        };
        let asks_now = !self.client_cas.is_empty();
        asks_now && (before.client_cas.is_empty() || before.client_cas.iter().any(is_dropped))
    }
}

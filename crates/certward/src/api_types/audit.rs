use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AuditAnswer {
    /// Absent: the row has no MAC.
    pub(crate) number: Option<i64>,
    pub(crate) at: String,
    pub(crate) actor: String,
    pub(crate) address: Option<String>,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) result: String,
    pub(crate) detail: String,
    pub(crate) fingerprint_before: Option<String>,
    pub(crate) fingerprint_after: Option<String>,
}

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AddedRevocationsAnswer {
    pub(crate) revocations: Vec<RevocationAnswer>,
    pub(crate) matches: RevocationMatchesAnswer,
    pub(crate) in_effect: bool,
    pub(crate) silent_nodes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RevocationMatchesAnswer {
    pub(crate) known: u64,
    /// `None`: no node has a gateway.
    pub(crate) connected: Option<u64>,
    pub(crate) not_counted: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RevocationAnswer {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) device: String,
    pub(crate) fingerprint: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) revoked_by: String,
    pub(crate) revoked_at: String,
    /// Of an answer to an addition.
    pub(crate) existing: bool,
}

impl RevocationAnswer {
    /// What it refuses, in words.
    pub(crate) fn what(&self) -> String {
        let Self { issuer, serial, name, .. } = self;
        match self.by.as_str() {
            "certificate" => format!("the certificate of {issuer} with the serial number {serial}"),
            "serial" => format!("the serial number {serial} of {issuer}"),
            "name" if issuer.is_empty() => format!("the name {name}"),
            "name" => format!("the name {name} in certificates of {issuer}"),
            // Of a newer server.
            by => by.to_owned(),
        }
    }
}

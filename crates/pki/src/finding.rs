use serde::{Deserialize, Serialize};

/// What a finding does to the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The upload is refused.
    Error,
    /// The upload is accepted, and the finding reported.
    Warning,
    /// The upload was repaired, and the repair reported.
    Notice,
}

/// The field of the request that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Field {
    /// `tlsType`
    #[serde(rename = "tlsType")]
    TlsType,
    /// `cert`
    #[serde(rename = "cert")]
    Cert,
    /// `key`
    #[serde(rename = "key")]
    Key,
    /// `cacert`
    #[serde(rename = "cacert")]
    Cacert,
}

/// Which PEM block of a field a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The block's place in the field, from 0.
    pub index: usize,
    /// The certificate's subject, escaped for display, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
}

/// Something said about an upload. Never holds a byte of a key nor the body of a PEM block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stable code.
    pub code: Code,
    /// What it does to the upload; fixed for each code.
    pub severity: Severity,
    /// The field it is about.
    pub field: Field,
    /// The block of that field, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub item: Option<Item>,
    /// What is wrong, in one plain sentence.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// The stable codes, most important first: the first error of this order names a refused upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Code {
    /// `tlsType` is missing or none of the two.
    TlsTypeInvalid,
    /// The key is not the leaf's.
    KeyMismatch,
}

impl Code {
    /// The code as it stands in answers, for example `KEY_MISMATCH`.
    pub fn as_str(self) -> &'static str {
        todo!("pki")
    }
}

use serde::{Deserialize, Serialize};

use crate::display::escape;
use crate::{Code, Severity};

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
    /// `keyPassword`
    #[serde(rename = "keyPassword")]
    KeyPassword,
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
    /// What to do about it. Of one code it differs only where its documentation names several
    /// causes.
    pub remedy: String,
}

impl Finding {
    /// A finding with the severity and the remedy that belong to its code.
    pub(crate) fn new(code: Code, field: Field, item: Option<Item>, message: impl Into<String>) -> Self {
        let doc = code.doc();
        Self { code, severity: doc.severity, field, item, message: message.into(), remedy: doc.remedy.into() }
    }

    /// The gateway's rehearsal failed: the upload is refused, and `reason` says why. The reason is shown to the
    /// uploader, so it must not hold input; control characters are escaped and the length is bounded.
    pub fn not_servable(reason: &str) -> Self {
        let message =
            format!("The gateway could not serve this upload: {}.", escape(reason, REASON_CHARS_MAX));
        Self::new(Code::NotServable, Field::Cert, None, message)
    }

    /// Whether the finding refuses the upload.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A reason is a sentence, not a page.
const REASON_CHARS_MAX: usize = 300;

use serde::{Deserialize, Serialize};

use crate::display::escape;
use crate::{Code, Severity};

/// The field of a finding.
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
    /// A CRL's upload.
    #[serde(rename = "crl")]
    Crl,
}

/// The PEM block of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The block's index in the field, from 0.
    pub index: usize,
    /// The certificate's subject, escaped, if readable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
}

/// A statement about an upload. Never holds key bytes or PEM bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stable code.
    pub code: Code,
    /// Fixed per code.
    pub severity: Severity,
    /// The field.
    pub field: Field,
    /// The block, if any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub item: Option<Item>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do; varies only if the code documents several causes.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn new(code: Code, field: Field, item: Option<Item>, message: impl Into<String>) -> Self {
        let doc = code.doc();
        Self { code, severity: doc.severity, field, item, message: message.into(), remedy: doc.remedy.into() }
    }

    /// The gateway's rehearsal failed. The uploader sees `reason`: it must not hold input; it is
    /// escaped and bounded.
    pub fn not_servable(reason: &str) -> Self {
        let message =
            format!("The gateway could not serve this upload: {}.", escape(reason, REASON_CHARS_MAX));
        Self::new(Code::NotServable, Field::Cert, None, message)
    }

    /// The deployment has the CRL `other` too, which is of the same issuer, signer and scope.
    pub fn crl_issuer_twice(other: &str) -> Self {
        let message =
            format!("The CRL {} of this deployment is of the same CA.", escape(other, REASON_CHARS_MAX));
        Self::new(Code::CrlIssuerTwice, Field::Crl, None, message)
    }

    /// Whether it refuses the upload.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

const REASON_CHARS_MAX: usize = 300;

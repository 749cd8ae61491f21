use crate::Code;
use crate::finding::{Field, Finding};

/// Why a CRL cannot be used, apart from its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CrlFault {
    /// What cannot be read.
    Unreadable(&'static str),
    Delta,
    Indirect,
    /// What it is limited to.
    Partial(&'static str),
    /// The extension's OID.
    CriticalExtension(String),
    /// Of an entry.
    CriticalEntryExtension(String),
}

impl CrlFault {
    pub(super) fn finding(&self) -> Finding {
        let (code, message) = match self {
            Self::Unreadable(what) => (Code::CrlUnreadable, format!("The CRL cannot be read: {what}.")),
            Self::Delta => (
                Code::CrlDelta,
                "The CRL is a delta CRL: it has only what changed since a complete one.".to_owned(),
            ),
            Self::Indirect => {
                (Code::CrlIndirect, "The CRL is indirect: it lists certificates of other issuers.".to_owned())
            }
            Self::Partial(what) => {
                (Code::CrlPartial, format!("The CRL is not complete: it has only {what}."))
            }
            Self::CriticalExtension(oid) => (
                Code::CrlCriticalExtension,
                format!(
                    "The CRL has the critical extension {oid}, which is not known here or must not be critical."
                ),
            ),
            Self::CriticalEntryExtension(oid) => (
                Code::CrlCriticalExtension,
                format!("An entry of the CRL has the critical extension {oid}, which is not known here."),
            ),
        };
        Finding::new(code, Field::Crl, None, message)
    }
}

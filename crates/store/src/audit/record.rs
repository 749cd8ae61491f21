use sqlx::any::AnyRow;

use crate::{CertificateChange, StoreError, Timestamp, engine::row};

/// Of the table as `a`, for [`AuditRecord::read`].
pub(crate) const COLUMNS: &str = "a.number, a.at, a.actor, a.action, a.subject, a.detail, a.project, a.deployment, \
                                  a.address, a.request, a.refusal, a.fingerprint_before, a.fingerprint_after, \
                                  a.position, a.master_key, a.mac";

/// A stored row of the audit, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its place in the list; grows, with gaps.
    pub row: i64,
    /// When it happened.
    pub at: Timestamp,
    /// See [`crate::AuditOrigin::actor`].
    pub actor: String,
    /// See [`crate::AuditEntry::action`].
    pub action: String,
    /// See [`crate::AuditEntry::subject`].
    pub subject: String,
    /// See [`crate::AuditEntry::detail`].
    pub detail: String,
    /// See [`crate::AuditEntry::project`].
    pub project: Option<String>,
    /// See [`crate::AuditEntry::deployment`].
    pub deployment: Option<String>,
    /// See [`crate::AuditOrigin::address`].
    pub address: Option<String>,
    /// See [`crate::AuditOrigin::request`].
    pub request: Option<String>,
    /// See [`crate::AuditEntry::refusal`].
    pub refusal: Option<String>,
    /// See [`crate::AuditEntry::certificate`].
    pub certificate: CertificateChange,
    /// `None`: written by a release without chain, or by another program.
    pub link: Option<AuditLink>,
}

/// A row's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLink {
    /// From 1, without gaps.
    pub number: i64,
    /// The id of the master key that the MAC's key is derived from.
    pub master_key: Vec<u8>,
    /// HMAC-SHA-256 of the row and the MAC before.
    pub mac: Vec<u8>,
}

impl AuditRecord {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let link = match row::integer_or_null(row, "position")? {
            None => None,
            Some(number) => Some(AuditLink {
                number,
                // Absent bytes verify as little as wrong ones.
                master_key: row::bytes_or_null(row, "master_key")?.unwrap_or_default(),
                mac: row::bytes_or_null(row, "mac")?.unwrap_or_default(),
            }),
        };
        Ok(Self {
            row: row::integer(row, "number")?,
            at: Timestamp(row::integer(row, "at")?),
            actor: row::text(row, "actor")?,
            action: row::text(row, "action")?,
            subject: row::text(row, "subject")?,
            detail: row::text(row, "detail")?,
            project: row::text_or_null(row, "project")?,
            deployment: row::text_or_null(row, "deployment")?,
            address: row::text_or_null(row, "address")?,
            request: row::text_or_null(row, "request")?,
            refusal: row::text_or_null(row, "refusal")?,
            certificate: CertificateChange {
                before: row::text_or_null(row, "fingerprint_before")?,
                after: row::text_or_null(row, "fingerprint_after")?,
            },
            link,
        })
    }
}

use sqlx::any::AnyRow;

use crate::{StoreError, Timestamp, VersionId, engine::row};

/// The certificate's state; `lifecycle` makes the transitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsState {
    /// No certificate is set.
    Absent,
    /// Stored, not yet proven on every counted node.
    Pending {
        /// Newest upload.
        version: VersionId,
        /// It fails if not proven by then.
        deadline: Timestamp,
    },
    /// Proven by every counted node.
    Running {
        /// Newest upload.
        version: VersionId,
    },
    /// Not proven in time, or without an entry point. Not final.
    Failed {
        /// Newest upload.
        version: VersionId,
        /// Why, in one sentence.
        reason: String,
    },
    /// Keys are erased, counted nodes stop serving it.
    Terminated,
}

impl TlsState {
    /// The newest upload, if any.
    pub fn version(&self) -> Option<VersionId> {
        match self {
            Self::Pending { version, .. } | Self::Running { version } | Self::Failed { version, .. } => {
                Some(*version)
            }
            Self::Absent | Self::Terminated => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) state: &'static str,
    pub(crate) version: Option<i64>,
    pub(crate) deadline: Option<i64>,
    pub(crate) reason: Option<String>,
}

impl Columns {
    pub(crate) fn of(tls: &TlsState) -> Self {
        let version = tls.version().map(|version| version.0);
        let columns = |state| Self { state, version, deadline: None, reason: None };
        match tls {
            TlsState::Absent => columns("absent"),
            TlsState::Pending { deadline, .. } => Self { deadline: Some(deadline.0), ..columns("pending") },
            TlsState::Running { .. } => columns("running"),
            TlsState::Failed { reason, .. } => {
                Self { reason: Some(row::storable(reason).into_owned()), ..columns("failed") }
            }
            TlsState::Terminated => columns("terminated"),
        }
    }
}

pub(crate) fn read(row: &AnyRow) -> Result<TlsState, StoreError> {
    let version = || {
        let version = row::integer_or_null(row, "tls_version")?;
        version.map(VersionId).ok_or_else(|| row::unreadable("tls_version"))
    };
    match row::text(row, "tls_state")?.as_str() {
        "absent" => Ok(TlsState::Absent),
        "pending" => Ok(TlsState::Pending {
            version: version()?,
            deadline: Timestamp(row::integer(row, "tls_deadline")?),
        }),
        "running" => Ok(TlsState::Running { version: version()? }),
        "failed" => Ok(TlsState::Failed { version: version()?, reason: row::text(row, "tls_reason")? }),
        "terminated" => Ok(TlsState::Terminated),
        _ => Err(row::unreadable("tls_state")),
    }
}

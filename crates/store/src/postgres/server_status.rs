use sqlx::AnyConnection;

use crate::{StoreError, engine::row, sealed::secret};

const OLDEST_VERSION: i64 = 140_000;

/// Read first on every new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerStatus {
    pub(crate) refusal: Option<&'static str>,
    /// Grows with each promotion: the lower of two writable servers was replaced. 0 if the role may
    /// not read it.
    pub(crate) timeline: i64,
    /// Shared by a primary and its standbys, not by restored dumps. Without permission: that of the
    /// store, which dumps share, or `None` before `init`.
    pub(crate) identity: Option<String>,
}

/// Identity: cluster identifier (shared by physical copies, not by dumps), database and schema.
const STATUS_SQL: &str = "SELECT pg_is_in_recovery()::int::bigint AS standby,
    (current_setting('default_transaction_read_only') = 'on')::int::bigint AS read_only,
    current_setting('server_version_num')::bigint AS version,
    CASE WHEN pg_is_in_recovery() THEN 0
         ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END AS timeline,
    (SELECT system_identifier FROM pg_control_system())::text
        || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())::text
        || '/' || coalesce(current_schema()::text, '') AS identity";

/// Without permission for these functions.
const UNPRIVILEGED_STATUS_SQL: &str = "SELECT pg_is_in_recovery()::int::bigint AS standby,
    (current_setting('default_transaction_read_only') = 'on')::int::bigint AS read_only,
    current_setting('server_version_num')::bigint AS version,
    0::bigint AS timeline, NULL::text AS identity";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

impl ServerStatus {
    pub(crate) async fn ask(conn: &mut AnyConnection) -> Result<Self, StoreError> {
        let full = sqlx::query(STATUS_SQL).fetch_one(&mut *conn).await;
        let forbidden = |e: &sqlx::Error| {
            e.as_database_error().is_some_and(|e| e.code().is_some_and(|code| code == INSUFFICIENT_PRIVILEGE))
        };
        let (row, limited) = match full {
            Err(e) if forbidden(&e) => {
                (sqlx::query(UNPRIVILEGED_STATUS_SQL).fetch_one(&mut *conn).await?, true)
            }
            full => (full?, false),
        };
        let refusal = if row::integer(&row, "version")? < OLDEST_VERSION {
            Some("PostgreSQL 14 or later is needed")
        } else if row::integer(&row, "standby")? != 0 {
            Some("it is a standby")
        } else if row::integer(&row, "read_only")? != 0 {
            Some("it is read-only (default_transaction_read_only)")
        } else {
            None
        };
        let identity = match limited {
            true => secret::identity(conn).await?,
            false => row::text_or_null(&row, "identity")?,
        };
        Ok(Self { refusal, timeline: row::integer(&row, "timeline")?, identity })
    }
}

//! SQLite's page cache, which is small: a node has several connections. Thousands of rows at random
//! places of an index would each read and write pages again and again.

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{StoreError, engine::lock};

/// In KiB, as in the settings of connections.
const SMALL: u32 = 64;
/// The index of the longest deny-list has 6 MiB.
const LARGE: u32 = 32 * 1024;

/// Does work with a large cache. If it is cut off, the connection keeps the large one until the
/// next such work.
pub(crate) async fn with_large<T>(
    conn: &mut AnyConnection,
    work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if lock::is_postgres(conn) {
        return work(conn).await;
    }
    set(conn, LARGE).await?;
    let done = work(conn).await;
    set(conn, SMALL).await?;
    done
}

async fn set(conn: &mut AnyConnection, kib: u32) -> Result<(), StoreError> {
    // Safe: a number.
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA cache_size = -{kib}; PRAGMA shrink_memory")))
        .execute(conn)
        .await?;
    Ok(())
}

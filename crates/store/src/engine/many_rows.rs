//! Statements of many rows: a round trip for each row would be too slow.

use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyArguments, query::Query};

use crate::{StoreError, engine::lock};

/// Parameters of a statement, far below PostgreSQL's 65,535 and SQLite's 32,766.
const PARAMETERS_MAX: usize = 1_500;

pub(crate) type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

/// `$from, …`, `count` of them.
pub(crate) fn places(from: usize, count: usize) -> String {
    (from..from + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// `before VALUES (…), (…) after`, where `bind` binds the `width` parameters of a row.
pub(crate) async fn insert<T>(
    conn: &mut AnyConnection,
    (before, after): (&'static str, &'static str),
    width: usize,
    rows: &[T],
    bind: impl for<'q> Fn(AnyQuery<'q>, &T) -> AnyQuery<'q>,
) -> Result<(), StoreError> {
    for rows in rows.chunks(PARAMETERS_MAX / width) {
        // SQLite takes `$1` for a name, and looks for each among all before.
        let places: Vec<_> = match lock::is_postgres(conn) {
            true => (0..rows.len()).map(|row| places(row * width + 1, width)).collect(),
            false => vec![vec!["?"; width].join(", "); rows.len()],
        };
        let sql = format!("{before} VALUES ({}) {after}", places.join("), ("));
        // Safe: constants and numbers. Not kept prepared: it is large, and each length differs.
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        rows.iter().fold(query, &bind).execute(&mut *conn).await?;
    }
    Ok(())
}

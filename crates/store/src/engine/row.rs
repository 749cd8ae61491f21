//! Other programs can write to the database: an unreadable value is an error, never a panic.

use sqlx::{Row, any::AnyRow};

use crate::{DeploymentId, NodeId, ProjectId, StoreError};

pub(crate) fn integer(row: &AnyRow, column: &str) -> Result<i64, StoreError> {
    Ok(row.try_get::<i64, _>(column)?)
}

pub(crate) fn integer_or_null(row: &AnyRow, column: &str) -> Result<Option<i64>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?)
}

pub(crate) fn text(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    Ok(row.try_get::<String, _>(column)?)
}

pub(crate) fn text_or_null(row: &AnyRow, column: &str) -> Result<Option<String>, StoreError> {
    Ok(row.try_get::<Option<String>, _>(column)?)
}

pub(crate) fn bytes(row: &AnyRow, column: &str) -> Result<Vec<u8>, StoreError> {
    Ok(row.try_get::<Vec<u8>, _>(column)?)
}

pub(crate) fn bytes_or_null(row: &AnyRow, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(row.try_get::<Option<Vec<u8>>, _>(column)?)
}

/// An id, or a hash.
pub(crate) fn sixteen(row: &AnyRow, column: &str) -> Result<[u8; 16], StoreError> {
    bytes(row, column)?.try_into().map_err(|_| unreadable(column))
}

pub(crate) fn deployment_id(row: &AnyRow, column: &str) -> Result<DeploymentId, StoreError> {
    DeploymentId::parse(&text(row, column)?).map_err(|_| unreadable(column))
}

pub(crate) fn project_id(row: &AnyRow, column: &str) -> Result<ProjectId, StoreError> {
    ProjectId::parse(&text(row, column)?).map_err(|_| unreadable(column))
}

pub(crate) fn node_id(row: &AnyRow, column: &str) -> Result<NodeId, StoreError> {
    NodeId::parse(&text(row, column)?).map_err(|_| unreadable(column))
}

pub(crate) fn unreadable(column: &str) -> StoreError {
    StoreError::Corrupt(format!("column {column}"))
}

/// PostgreSQL refuses NUL, and a client's name must not fail the transaction.
pub(crate) fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

pub(crate) fn count(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    u64::try_from(integer(row, column)?).map_err(|_| unreadable(column))
}

/// A count as a parameter.
pub(crate) fn bound(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

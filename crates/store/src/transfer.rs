//! Copies an embedded store to PostgreSQL, in one transaction from one snapshot: the target ends
//! empty or complete. Tables come from the source's schema, so later ones are included unless in
//! [`NOT_COPIED`]. Keys stay sealed. The source is only read, so the target gets its schema version
//! and is migrated afterwards. Every row is compared by digest before the commit.

use std::{collections::HashSet, fmt::Write as _, path::Path};

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row, any::AnyRow, query::Query};
use thiserror::Error;

use crate::{
    Address, MasterKeyRing, StoreError,
    engine::{
        lock,
        many_rows::places,
        pool::{Engine, step},
        row,
        schema::{self, SchemaPart},
    },
    postgres::servers::Servers,
    repo::version,
    sealed::secret::{self, StoreKey},
};

/// Live nodes join the target and are then counted for everything unsettled.
const NOT_COPIED: [&str; 6] =
    ["broker_trouble", "node", "node_answer", "node_count", "node_process", "node_question"];
/// A row has at most some 80 KiB (chain and client CAs of 32 KiB each; a part of a CRL has 64), a
/// page 16 MiB; its parameters are far below PostgreSQL's 65,535.
const PAGE_ROWS: usize = 200;

/// Rows copied and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

/// Why nothing was copied.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The embedded store.
    #[error("the embedded store: {0}")]
    Source(StoreError),
    /// PostgreSQL.
    #[error("PostgreSQL: {0}")]
    Target(StoreError),
    /// A certward table exists there.
    #[error("PostgreSQL: the database has a table {0} already")]
    NotEmpty(String),
    /// Verification failed.
    #[error("PostgreSQL: the table {0} does not read as it was written")]
    Different(String),
}

/// Copies the store in `folder` to the empty database at `target`, reporting each table. Durable on
/// return. Locks the folder; uses bounded memory.
///
/// # Errors
/// [`TransferError`]: nothing was copied; if the connection was lost during the commit, all or
/// nothing.
pub async fn transfer(
    folder: &Path,
    target: &Servers,
    keys: impl Into<MasterKeyRing>,
    mut told: impl FnMut(&CopiedTable),
) -> Result<Vec<CopiedTable>, TransferError> {
    let keys = keys.into();
    let source =
        Engine::open(&Address::Embedded(folder.to_owned()), false).await.map_err(TransferError::Source)?;
    let copied = async {
        check_master_key(&source, &keys).await.map_err(TransferError::Source)?;
        let target =
            Engine::open(&Address::Postgres(target.clone()), false).await.map_err(TransferError::Target)?;
        let copied = copy(&source, &target, &keys, &mut told).await;
        target.close().await;
        copied
    };
    let copied = copied.await;
    source.close().await;
    copied
}

async fn check_master_key(source: &Engine, keys: &MasterKeyRing) -> Result<(), StoreError> {
    if source.version().await? == 0 {
        return Err(StoreError::NotInitialised);
    }
    let mut conn = source.read().await?;
    let check = step(secret::sealed_check(&mut conn)).await?.ok_or(StoreError::NotInitialised)?;
    secret::verify_check(keys, &check)?;
    match step(StoreKey::read(&mut conn)).await?.former {
        Some(_) => Err(StoreError::RekeyUnderWay),
        None => Ok(()),
    }
}

async fn copy(
    source: &Engine,
    target: &Engine,
    keys: &MasterKeyRing,
    told: &mut impl FnMut(&CopiedTable),
) -> Result<Vec<CopiedTable>, TransferError> {
    let mut to = target.begin().await.map_err(TransferError::Target)?;
    step(lock::migration(&mut to)).await.map_err(TransferError::Target)?;
    let mut copied = Vec::new();
    // Each part is a separate database.
    let mut store = source.begin_reading().await.map_err(TransferError::Source)?;
    let mut requests = source.begin_on_requests().await.map_err(TransferError::Source)?;
    let store_tables = step(tables(&mut store)).await.map_err(TransferError::Source)?;
    let requests_tables = step(tables(&mut requests)).await.map_err(TransferError::Source)?;
    let names = store_tables.iter().chain(&requests_tables).map(|table| table.name.as_str());
    for name in names.chain(["schema_version"]) {
        if step(is_there(&mut to, name)).await.map_err(TransferError::Target)? {
            return Err(TransferError::NotEmpty(name.to_owned()));
        }
    }
    copied.extend(copy_part(&mut store, &mut to, schema::STORE, &store_tables, told).await?);
    copied.extend(copy_part(&mut requests, &mut to, schema::REQUESTS, &requests_tables, told).await?);
    open_some(&mut to, keys).await.map_err(TransferError::Target)?;
    step(async { Ok(to.commit().await?) }).await.map_err(TransferError::Target)?;
    Ok(copied)
}

async fn is_there(conn: &mut AnyConnection, table: &str) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT to_regclass($1)::text AS name").bind(quoted(table)).fetch_one(conn).await?;
    Ok(row::text_or_null(&row, "name")?.is_some())
}

async fn copy_part(
    from: &mut AnyConnection,
    to: &mut AnyConnection,
    part: SchemaPart,
    tables: &[SourceTable],
    told: &mut impl FnMut(&CopiedTable),
) -> Result<Vec<CopiedTable>, TransferError> {
    let version = step(part.version(from)).await.map_err(TransferError::Source)?;
    part.migrate_to(to, version).await.map_err(|error| match error {
        StoreError::TooNew(_) => TransferError::Source(error),
        error => TransferError::Target(error),
    })?;
    let mut copied = Vec::new();
    for table in tables.iter().filter(|table| !NOT_COPIED.contains(&table.name.as_str())) {
        // The source has the migrations' rows, too.
        step(run(to, format!("DELETE FROM {}", table.quoted()))).await.map_err(TransferError::Target)?;
        let written = copy_table(table, from, to).await?;
        if read_back(table, to).await? != written {
            return Err(TransferError::Different(table.name.clone()));
        }
        step(go_on(table, from, to)).await.map_err(TransferError::Target)?;
        let table = CopiedTable { table: table.name.clone(), rows: written.rows };
        told(&table);
        copied.push(table);
    }
    part.migrate(to).await.map_err(TransferError::Target)?;
    Ok(copied)
}

/// Checks that the copied secrets open.
async fn open_some(to: &mut AnyConnection, keys: &MasterKeyRing) -> Result<(), StoreError> {
    step(async {
        secret::api_secrets_key(to, keys).await?;
        version::open_some_key(to, keys).await
    })
    .await
}

struct SourceTable {
    name: String,
    columns: Vec<Column>,
    /// In order.
    key: Vec<Column>,
    /// Copied first.
    parents: HashSet<String>,
}

#[derive(Clone)]
struct Column {
    name: String,
    kind: ColumnKind,
}

#[derive(Clone, Copy)]
enum ColumnKind {
    Number,
    Text,
    Bytes,
}

enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Parents first.
async fn tables(conn: &mut AnyConnection) -> Result<Vec<SourceTable>, StoreError> {
    let names = sqlx::query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         AND name <> 'schema_version' ORDER BY name",
    );
    let mut waiting = Vec::new();
    for row in names.fetch_all(&mut *conn).await? {
        waiting.push(SourceTable::read(conn, row::text(&row, "name")?).await?);
    }
    let mut ordered: Vec<SourceTable> = Vec::new();
    while !waiting.is_empty() {
        let is_there = |name: &String| ordered.iter().any(|table| table.name == *name);
        let next = waiting.iter().position(|table| table.parents.iter().all(is_there));
        let next = next.ok_or_else(|| StoreError::corrupt("tables refer to each other in a circle"))?;
        ordered.push(waiting.remove(next));
    }
    Ok(ordered)
}

impl SourceTable {
    async fn read(conn: &mut AnyConnection, name: String) -> Result<Self, StoreError> {
        let rows = sqlx::query("SELECT name, type AS kind, pk FROM pragma_table_info($1) ORDER BY cid")
            .bind(name.clone())
            .fetch_all(&mut *conn)
            .await?;
        let mut columns = Vec::new();
        let mut key = Vec::new();
        for row in &rows {
            let kind = match row::text(row, "kind")?.as_str() {
                "INTEGER" | "BIGINT" => ColumnKind::Number,
                "TEXT" => ColumnKind::Text,
                "BLOB" => ColumnKind::Bytes,
                _ => return Err(StoreError::Corrupt(format!("the type of a column of {name}"))),
            };
            let column = Column { name: row::text(row, "name")?, kind };
            let place = row::integer(row, "pk")?;
            if place > 0 {
                key.push((place, column.clone()));
            }
            columns.push(column);
        }
        if key.is_empty() {
            return Err(StoreError::Corrupt(format!("the table {name} has no primary key")));
        }
        key.sort_by_key(|(place, _)| *place);
        let parents = sqlx::query("SELECT \"table\" AS parent FROM pragma_foreign_key_list($1)")
            .bind(name.clone())
            .fetch_all(conn)
            .await?;
        let parents = parents.iter().map(|row| row::text(row, "parent")).collect::<Result<_, _>>()?;
        Ok(Self { name, columns, key: key.into_iter().map(|(_, column)| column).collect(), parents })
    }

    fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// By primary key, whose order is bytewise in both engines.
    async fn page(
        &self,
        conn: &mut AnyConnection,
        after: Option<&AnyRow>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let key = names(&self.key);
        let beyond = match after {
            Some(_) => format!("WHERE ({key}) > ({})", places(1, self.key.len())),
            None => String::new(),
        };
        let columns = names(&self.columns);
        let sql =
            format!("SELECT {columns} FROM {} {beyond} ORDER BY {key} LIMIT {PAGE_ROWS}", self.quoted());
        // Safe: quoted names.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        if let Some(row) = after {
            for column in &self.key {
                query = column.read(row)?.bind(query);
            }
        }
        Ok(query.fetch_all(conn).await?)
    }

    async fn write(&self, conn: &mut AnyConnection, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        let width = self.columns.len();
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.quoted(), names(&self.columns));
        for row in 0..rows.len() {
            let comma = if row == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}({})", places(row * width + 1, width));
        }
        // Safe: quoted names.
        let query = sqlx::query(AssertSqlSafe(sql));
        rows.into_iter().flatten().fold(query, |query, value| value.bind(query)).execute(conn).await?;
        Ok(())
    }
}

impl Column {
    fn read(&self, row: &AnyRow) -> Result<Value, StoreError> {
        Ok(match self.kind {
            ColumnKind::Number => Value::Number(row::integer_or_null(row, &self.name)?),
            ColumnKind::Text => Value::Text(row::text_or_null(row, &self.name)?),
            ColumnKind::Bytes => Value::Bytes(row::bytes_or_null(row, &self.name)?),
        })
    }
}

impl Value {
    fn bind<'q>(
        self,
        query: Query<'q, Any, sqlx::any::AnyArguments>,
    ) -> Query<'q, Any, sqlx::any::AnyArguments> {
        match self {
            Self::Number(number) => query.bind(number),
            Self::Text(text) => query.bind(text),
            Self::Bytes(bytes) => query.bind(bytes),
        }
    }

    /// With a length prefix, against collisions.
    fn add_to(&self, digest: &mut Context) {
        let number;
        let bytes = match self {
            Self::Number(None) | Self::Text(None) | Self::Bytes(None) => return digest.update(&[0]),
            Self::Number(Some(value)) => {
                number = value.to_be_bytes();
                number.as_slice()
            }
            Self::Text(Some(text)) => text.as_bytes(),
            Self::Bytes(Some(bytes)) => bytes,
        };
        digest.update(&[1]);
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
}

#[derive(PartialEq, Eq)]
struct TableDigest {
    rows: u64,
    digest: Vec<u8>,
}

struct TableDigester {
    rows: u64,
    digest: Context,
}

impl TableDigester {
    fn new() -> Self {
        Self { rows: 0, digest: Context::new(&SHA256) }
    }

    fn add(&mut self, row: &[Value]) {
        self.rows += 1;
        row.iter().for_each(|value| value.add_to(&mut self.digest));
    }

    fn finish(self) -> TableDigest {
        TableDigest { rows: self.rows, digest: self.digest.finish().as_ref().to_vec() }
    }
}

async fn copy_table(
    table: &SourceTable,
    from: &mut AnyConnection,
    to: &mut AnyConnection,
) -> Result<TableDigest, TransferError> {
    let mut sum = TableDigester::new();
    let mut last: Option<AnyRow> = None;
    loop {
        let mut page = step(table.page(from, last.as_ref())).await.map_err(TransferError::Source)?;
        let values = values(table, &page).map_err(TransferError::Source)?;
        values.iter().for_each(|row| sum.add(row));
        let is_last = page.len() < PAGE_ROWS;
        last = page.pop();
        if !values.is_empty() {
            step(table.write(to, values)).await.map_err(TransferError::Target)?;
        }
        if is_last {
            return Ok(sum.finish());
        }
    }
}

async fn read_back(table: &SourceTable, to: &mut AnyConnection) -> Result<TableDigest, TransferError> {
    let mut sum = TableDigester::new();
    let mut last: Option<AnyRow> = None;
    loop {
        let mut page = step(table.page(to, last.as_ref())).await.map_err(TransferError::Target)?;
        values(table, &page).map_err(TransferError::Target)?.iter().for_each(|row| sum.add(row));
        if page.len() < PAGE_ROWS {
            return Ok(sum.finish());
        }
        last = page.pop();
    }
}

fn values(table: &SourceTable, page: &[AnyRow]) -> Result<Vec<Vec<Value>>, StoreError> {
    let unreadable = |error| match error {
        StoreError::Corrupt(what) => StoreError::Corrupt(format!("{what} of the table {}", table.name)),
        error => error,
    };
    let read = |row: &AnyRow| table.columns.iter().map(|column| column.read(row)).collect();
    page.iter().map(read).collect::<Result<_, _>>().map_err(unreadable)
}

/// Sequences continue after the greatest number ever drawn, of deleted rows too.
async fn go_on(
    table: &SourceTable,
    from: &mut AnyConnection,
    to: &mut AnyConnection,
) -> Result<(), StoreError> {
    let drawn = sqlx::query(
        "SELECT a.attname::text AS name FROM pg_attribute a
         WHERE a.attrelid = to_regclass($1) AND a.attidentity <> ''::\"char\"",
    )
    .bind(table.quoted())
    .fetch_optional(&mut *to)
    .await?;
    let Some(column) = drawn.map(|row| row::text(&row, "name")).transpose()? else { return Ok(()) };
    let greatest = sqlx::query("SELECT seq FROM sqlite_sequence WHERE name = $1")
        .bind(table.name.clone())
        .fetch_optional(from)
        .await?;
    let Some(greatest) = greatest else { return Ok(()) };
    sqlx::query("SELECT setval(pg_get_serial_sequence($1, $2), $3)")
        .bind(table.quoted())
        .bind(column)
        .bind(greatest.try_get::<i64, _>("seq")?)
        .execute(to)
        .await?;
    Ok(())
}

async fn run(conn: &mut AnyConnection, sql: String) -> Result<(), StoreError> {
    // Safe: quoted names.
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

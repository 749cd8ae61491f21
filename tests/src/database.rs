use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

/// Direct access to an embedded store.
#[derive(Debug)]
pub struct EmbeddedDatabase {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl EmbeddedDatabase {
    /// The database files in a data folder.
    pub fn files(data: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        let is_database =
            |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
        entries.filter(|path| path.is_file()).filter(is_database).collect()
    }

    /// Opens the file with this table.
    pub fn with_table(data: &Path, table: &str) -> Self {
        let files = Self::files(data);
        files
            .iter()
            .map(|file| Self::open(file))
            .find_map(|mut database| database.tables().iter().any(|name| name == table).then_some(database))
            .unwrap_or_else(|| panic!("no table {table} in {files:?}"))
    }

    /// Opens a database file.
    pub fn open(file: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(file);
        let connection = runtime.block_on(SqliteConnection::connect_with(&options)).unwrap();
        Self { runtime, connection }
    }

    /// The table names.
    pub fn tables(&mut self) -> Vec<String> {
        let rows = self.connection.fetch_all("SELECT name FROM sqlite_master WHERE type = 'table'");
        self.runtime.block_on(rows).unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Runs a statement.
    pub fn execute(&mut self, statement: &str) {
        self.runtime.block_on(self.connection.execute(AssertSqlSafe(statement.to_owned()))).unwrap();
    }

    /// The number that a query returns.
    pub fn count(&mut self, query: &str) -> i64 {
        let row = self.connection.fetch_one(AssertSqlSafe(query.to_owned()));
        self.runtime.block_on(row).unwrap().get(0)
    }

    /// The texts of the first column.
    pub fn texts(&mut self, query: &str) -> Vec<String> {
        let rows = self.connection.fetch_all(AssertSqlSafe(query.to_owned()));
        self.runtime.block_on(rows).unwrap().iter().map(|row| row.get(0)).collect()
    }
}

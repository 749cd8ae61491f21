//! SQLite and PostgreSQL: connections, schema, locks, data folder.

pub(crate) mod data_folder;
pub(crate) mod durability;
pub(crate) mod lock;
pub(crate) mod many_rows;
pub(crate) mod new_file;
pub(crate) mod own_file;
pub(crate) mod page_cache;
pub(crate) mod pool;
pub(crate) mod row;
pub(crate) mod schema;

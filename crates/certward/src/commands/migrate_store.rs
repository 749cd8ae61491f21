//! Copies the embedded store to PostgreSQL while certward is stopped.
//!
//! The target is an argument or the configured `store`.

use std::process::ExitCode;

use anyhow::Context;
use certward_store::{CopiedTable, Servers, ServersError, StoreError, TransferError, transfer};
use serde::Serialize;
use zeroize::Zeroizing;

use super::block_on;
use crate::{
    cli::MigrateStoreArgs,
    config::{Config, ConfigSource, LoadedConfig},
    input, output, store_remedy,
    usage::UsageError,
};

#[derive(Serialize)]
struct MigrationOutput<'a> {
    tables: Vec<TableOutput<'a>>,
}

#[derive(Serialize)]
struct TableOutput<'a> {
    table: &'a str,
    rows: u64,
}

pub(super) fn run(args: MigrateStoreArgs) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } =
        ConfigSource::gather(args.config.config.as_deref(), std::env::vars_os())?.load()?;
    for warning in warnings {
        output::note(&format!("certward: {warning}"));
    }
    let json = args.json;
    let is_configured = args.to.is_none() && args.to_file.is_none();
    let target = target(args, &config)?;
    for warning in target.warnings() {
        output::note(&format!("certward: {warning}"));
    }
    let keys = config.read_master_keys()?.ring();
    let told = |table: &CopiedTable| output::note(&format!("{}: {} rows", table.table, table.rows));
    let copied = block_on(async {
        transfer(&config.data_dir, &target, &keys, told).await.map_err(|error| explain(error, &config))
    })?;
    if json {
        output::say_json(&MigrationOutput { tables: copied.iter().map(rows).collect() })?;
    } else {
        let rows: u64 = copied.iter().map(|table| table.rows).sum();
        let next = if is_configured { "" } else { "set store in the configuration to this database, then " };
        output::say(&format!(
            "Copied {rows} rows of {} tables to PostgreSQL and read them back. The store in {} is as it was.\n\
             Next: {next}start certward. When all is well, move store.db and requests.db away from there: from now on\n\
             they grow old. Keep the master key, which both stores have in common; every node is given the same.",
            copied.len(),
            config.data_dir.display(),
        ))
        .context("all was copied")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(table: &CopiedTable) -> TableOutput<'_> {
    TableOutput { table: &table.table, rows: table.rows }
}

fn target(args: MigrateStoreArgs, config: &Config) -> Result<Servers, UsageError> {
    let url = match (args.to, &args.to_file, &config.store) {
        (Some(url), _, _) => Zeroizing::new(url),
        (None, Some(path), _) => input::read_password(path)?,
        (None, None, Some(store)) => return Ok(store.servers().clone()),
        (None, None, None) => {
            return Err(UsageError::new(
                "say where to: --to postgres://…, --to-file FILE, CERTWARD_MIGRATE_TO, or store in the configuration",
            ));
        }
    };
    let refused = |e| match e {
        ServersError::NotPostgres => {
            UsageError::new("where it goes to must be postgres://USER:PASSWORD@HOST:PORT/DATABASE")
        }
        e => UsageError::new(format!("where it goes to: {e}")),
    };
    Servers::parse_list(&url).map_err(refused)
}

fn explain(error: TransferError, config: &Config) -> anyhow::Error {
    match error {
        TransferError::Source(StoreError::NotInitialised) => {
            anyhow::anyhow!("there is no store in {}; name its folder by data_dir", config.data_dir.display())
        }
        TransferError::Source(StoreError::InUse(folder)) => {
            anyhow::anyhow!(
                "a certward uses the store in {folder}; stop it first, so that no change is left behind"
            )
        }
        TransferError::Source(StoreError::TooNew(schema)) => {
            anyhow::anyhow!(
                "the embedded store was made by a newer certward (schema {schema}); use that certward"
            )
        }
        TransferError::Source(error) => store_remedy::explain(error).context("the embedded store"),
        TransferError::Target(StoreError::Unavailable(what)) => anyhow::anyhow!(
            "PostgreSQL: {what}; nothing was copied. See that it runs and has room, and that this user may make tables in the database"
        ),
        TransferError::Target(error @ (StoreError::Sealed(_) | StoreError::Corrupt(_))) => {
            anyhow::anyhow!(
                "PostgreSQL: {error}; nothing was copied. The embedded store may be damaged: see whether certward serves from it"
            )
        }
        TransferError::Target(error) => anyhow::anyhow!("PostgreSQL: {error}; nothing was copied"),
        error @ TransferError::NotEmpty(_) => anyhow::anyhow!(
            "{error}, and nothing of it was changed; make an empty database, and do not run `certward init` on it"
        ),
        error @ TransferError::Different(_) => anyhow::anyhow!(
            "{error}; nothing was copied. Its encoding must be UTF8, and nothing may change rows on their way"
        ),
    }
}

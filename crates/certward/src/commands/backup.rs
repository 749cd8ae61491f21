//! Copies the embedded store to one file, also while certward serves from it.

use std::process::ExitCode;

use certward_store::{BackupError, BackupFile, BackupManifest, Clock, StoreError, SystemClock, back_up};
use serde::Serialize;

use super::block_on;
use crate::{
    backup_remedy,
    cli::BackupArgs,
    config::{Config, ConfigSource, LoadedConfig},
    node_id, output,
    usage::UsageError,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BackupOutput<'a> {
    file: String,
    bytes: u64,
    sha256: &'a str,
    manifest: &'a BackupManifest,
    master_key_place: String,
}

pub(super) fn run(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } =
        ConfigSource::gather(args.config.config.as_deref(), std::env::vars_os())?.load()?;
    for warning in warnings {
        output::note(&format!("certward: {warning}"));
    }
    refuse_postgres(&config)?;
    let node = node_id::look_up(&config.data_dir);
    let backup = block_on(async {
        back_up(&config.data_dir, &args.file, node.as_ref(), SystemClock.now())
            .await
            .map_err(|error| explain(error, &config))
    })?;
    let (file, master_key_place) = (backup.path().display().to_string(), config.master_key_place());
    if args.json {
        output::say_json(&BackupOutput {
            file,
            bytes: backup.bytes(),
            sha256: backup.sha256(),
            manifest: backup.manifest(),
            master_key_place,
        })?;
    } else {
        output::say(&format!(
            "Wrote {file}: {}.\n\
             The master key is not in it, and without that the backup is useless. It is in {master_key_place}:\n\
             keep a copy of it, apart from the backup.",
            describe(&backup),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Such as `3 deployments, 5 uploads, of 2027-01-31 03:00:00 UTC`.
pub(super) fn describe(backup: &BackupFile) -> String {
    let manifest = backup.manifest();
    let rows = |table| manifest.rows.get(table).copied().unwrap_or_default();
    let counted = |rows: u64, one: &str| format!("{rows} {one}{}", if rows == 1 { "" } else { "s" });
    format!(
        "{}, {}, of {} UTC",
        counted(rows("deployment"), "deployment"),
        counted(rows("version"), "upload"),
        manifest.created_at
    )
}

fn explain(error: BackupError, config: &Config) -> anyhow::Error {
    match error {
        BackupError::Store(StoreError::NotInitialised) => {
            anyhow::anyhow!("there is no store in {}; name its folder by data_dir", config.data_dir.display())
        }
        error => backup_remedy::explain(error),
    }
}

fn refuse_postgres(config: &Config) -> Result<(), UsageError> {
    let Some(store) = &config.store else { return Ok(()) };
    let url = store.servers().url_without_password().unwrap_or_default().replace('\'', "%27");
    Err(UsageError::new(format!(
        "the store is PostgreSQL (store in the configuration), which its own tools back up; nothing was written. Run\n\
         pg_dump --format=custom --file=certward.dump '{url}'\n\
         and keep the master key, {}, apart from the dump; the password is that of store, in PGPASSWORD or a PGPASSFILE",
        config.master_key_place()
    )))
}

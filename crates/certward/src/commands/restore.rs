//! Makes the embedded store from a backup, in an empty data folder.

use std::process::ExitCode;

use anyhow::{Context, bail};
use certward_store::{BackupFile, BackupManifest, MasterKey, restore};
use serde::Serialize;

use super::{backup, block_on};
use crate::{
    backup_remedy,
    cli::RestoreArgs,
    config::{Config, ConfigSource, LoadedConfig, MasterKeySource},
    output,
    usage::UsageError,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RestoreOutput<'a> {
    data_dir: String,
    manifest: &'a BackupManifest,
}

pub(super) fn run(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } =
        ConfigSource::gather(args.config.config.as_deref(), std::env::vars_os())?.load()?;
    for warning in warnings {
        output::note(&format!("certward: {warning}"));
    }
    if config.store.is_some() {
        return Err(UsageError::new(
            "the store is PostgreSQL (store in the configuration), which its own tools restore: create an empty \
             database, run pg_restore, and remove database.seen from every node's data folder",
        )
        .into());
    }
    let mut backup = BackupFile::open(&args.file).map_err(backup_remedy::explain)?;
    let master_key = master_key(args, &config)?;
    let keep_key = args.master_key.is_some();
    block_on(async {
        restore(&mut backup, &config.data_dir, &master_key, keep_key).await.map_err(backup_remedy::explain)
    })?;
    let data_dir = config.data_dir.display().to_string();
    if args.json {
        output::say_json(&RestoreOutput { data_dir, manifest: backup.manifest() })
    } else {
        output::say(&format!(
            "Restored {} to {data_dir}. The master key is in {}.\nNext: start certward.",
            backup::describe(&backup),
            config.master_key_place(),
        ))
    }
    .context("all was restored")?;
    Ok(ExitCode::SUCCESS)
}

fn master_key(args: &RestoreArgs, config: &Config) -> anyhow::Result<MasterKey> {
    let source = config.master_key_source();
    let is_configured = source.is_configured();
    match &args.master_key {
        Some(_) if is_configured => Err(UsageError::new(format!(
            "the configuration gives the master key already, in {}; leave --master-key out",
            config.master_key_place()
        ))
        .into()),
        Some(path) => Ok(MasterKey::read(path)?),
        None if matches!(&source, MasterKeySource::DataFolder(path) if !path.exists()) => bail!(
            "there is no master key in {}; give the one of the backup: --master-key FILE, master_key_file, or \
             CERTWARD_MASTER_KEY; nothing was changed",
            config.master_key_place()
        ),
        None => Ok(config.read_master_keys()?.current),
    }
}

//! Creates the store, the master key and the first admin key.
//!
//! For power loss: the master key is durable before it seals anything; `--new-admin-key` completes
//! a store without keys.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use certward_lifecycle::Lifecycle;
use certward_store::{MasterKey, Store, SystemClock};
use serde::Serialize;

use super::block_on;
use crate::{
    cli::InitArgs,
    config::{Config, ConfigSource, LoadedConfig, MasterKeySource},
    node_id, output, store_remedy,
};

/// The only output on stdout.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdminKeyOutput<'a> {
    api_key: &'a str,
    secret_key: &'a str,
}

pub(super) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } =
        ConfigSource::gather(args.config.config.as_deref(), std::env::vars_os())?.load()?;
    for warning in warnings {
        output::note(&format!("certward: {warning}"));
    }
    block_on(async {
        let store = if args.new_admin_key { open(&config).await? } else { make(&config).await? };
        let made = Lifecycle::create_first_key(&store).await;
        store.close().await;
        let (record, secret) =
            made.context("the store is there, but no admin key; run `certward init --new-admin-key`")?;
        output::note("The admin key, shown this once: keep it like a password.");
        output::say_json_once(&AdminKeyOutput { api_key: record.key.as_str(), secret_key: secret.expose() })
            .context("the admin key is lost; `certward init --new-admin-key` makes another")?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn make(config: &Config) -> anyhow::Result<Store> {
    let address = config.store_address();
    if Store::is_initialised(&address).await.map_err(store_remedy::explain)? {
        bail!(
            "the store is initialised already, and nothing was changed; `certward init --new-admin-key` makes another admin key"
        );
    }
    node_id::make_private_folder(&config.data_dir)?;
    let master_key = master_key(config)?;
    let store =
        Store::init(&address, &master_key, Arc::new(SystemClock)).await.map_err(store_remedy::explain)?;
    match &config.store {
        None => output::note(&format!("Made the store in {}.", config.data_dir.display())),
        Some(_) => output::note("Made the store in PostgreSQL."),
    }
    Ok(store)
}

fn master_key(config: &Config) -> anyhow::Result<MasterKey> {
    let path = match config.master_key_source() {
        MasterKeySource::DataFolder(path) | MasterKeySource::File(path) if !path.exists() => path,
        _ => return Ok(config.read_master_keys()?.current),
    };
    let master_key = MasterKey::generate();
    master_key.write_new(&path)?;
    output::note(&format!(
        "Made the master key in {}. Keep a copy apart from the store: without it no stored key can be read.",
        path.display()
    ));
    Ok(master_key)
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    let address = config.store_address();
    if !Store::is_initialised(&address).await.map_err(store_remedy::explain)? {
        bail!("the store is not initialised; run `certward init` without --new-admin-key");
    }
    let keys = config.read_master_keys()?.ring();
    Store::open(&address, &keys, Arc::new(SystemClock)).await.map_err(store_remedy::explain)
}

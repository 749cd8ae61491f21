//! Changes the master key, beside the running certward or without one.
//!
//! The steps and what a kill leaves are in the store's module `rekey`; this gives the keys, waits
//! for the nodes, and puts the new key's file in its place.

mod key_files;
mod node_wait;
mod opened_store;
mod status;

use std::{process::ExitCode, time::Duration};

use certward_store::{MasterKeyId, Rekey, RekeyError, RekeyState, Resealed, Store};
use serde::Serialize;

use self::{node_wait::NodeWait, opened_store::OpenedStore};
use super::block_on;
use crate::{
    cli::RekeyArgs,
    config::{Config, ConfigSource, LoadedConfig, ReadMasterKeys},
    output, store_remedy,
};

/// A node reads the keys every second.
const HELD_TIMEOUT: Duration = Duration::from_secs(15);

/// A line each, some ten seconds apart.
const NOTED_RECORDS: u64 = 20_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RekeyOutput<'a> {
    from: String,
    to: String,
    /// Sealed again by this run.
    records: u64,
    damaged: &'a [String],
    master_key_place: &'a str,
    /// Where the key before is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_key_place: Option<&'a str>,
    /// What is left to do on each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

pub(super) fn run(args: &RekeyArgs) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } =
        ConfigSource::gather(args.config.config.as_deref(), std::env::vars_os())?.load()?;
    for warning in warnings {
        output::note(&format!("certward: {warning}"));
    }
    let keys = config.read_master_keys()?;
    block_on(async {
        let store = OpenedStore::open(&config, &keys).await?;
        let done = match args.status {
            true => status::show(&config, &store, &keys, args.json).await,
            false => change(args, &config, &store, keys).await,
        };
        store.store.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

/// What is to be done.
enum Step {
    /// Begin with this key.
    Begin(MasterKeyId),
    /// Continue, or only put the files in place.
    Continue(Rekey),
}

async fn change(
    args: &RekeyArgs,
    config: &Config,
    opened: &OpenedStore,
    keys: ReadMasterKeys,
) -> anyhow::Result<()> {
    let store = &opened.store;
    let state = store.rekey_state().await.map_err(store_remedy::explain)?;
    let mut wait = NodeWait::new(config, opened, &args.without);
    let rekey = match next_step(args, config, store, &keys, state).await? {
        Step::Continue(rekey) => rekey,
        Step::Begin(to) => {
            wait.until_held(to, HELD_TIMEOUT).await?;
            let switched = store.switch_master_key(&keys.current, to, wait.nodes()).await;
            switched.map_err(|error| explain(error, &wait, to))?
        }
    };
    let resealed = match rekey.finished_at {
        Some(_) => Resealed::default(),
        None => finish(&wait, store, &rekey, Duration::from_secs(args.wait)).await?,
    };
    let placed = key_files::put_in_place(config, &rekey)?;
    tell(args, &rekey, &resealed, &placed)
}

async fn next_step(
    args: &RekeyArgs,
    config: &Config,
    store: &Store,
    keys: &ReadMasterKeys,
    state: RekeyState,
) -> anyhow::Result<Step> {
    if let Some(rekey) = state.under_way() {
        output::note(&format!("Continuing the rekey from {} to {}.", rekey.from, rekey.to));
        return Ok(Step::Continue(rekey));
    }
    // Finished, but the configured key is still the one before.
    let is_left = |rekey: &Rekey| rekey.to == state.key && rekey.from == MasterKeyId::of(&keys.current);
    if let Some(rekey) = state.newest.filter(is_left) {
        return Ok(Step::Continue(rekey));
    }
    let next = key_files::next(args, config, keys)?;
    let to = MasterKeyId::of(&next);
    if to == state.key {
        anyhow::bail!(
            "the next master key, in {}, is the one in use already; put a new one there, or remove it to have one made",
            config.master_key_sources().next.place()
        );
    }
    let ring = certward_store::MasterKeyRing::new(&keys.current, Some(&next));
    store.hold_master_keys(&ring).await.map_err(store_remedy::explain)?;
    Ok(Step::Begin(to))
}

/// Seals all records again, and waits for the replicas.
async fn finish(
    wait: &NodeWait<'_>,
    store: &Store,
    rekey: &Rekey,
    timeout: Duration,
) -> anyhow::Result<Resealed> {
    let mut noted = 0;
    let told = |records| {
        if records >= noted + NOTED_RECORDS {
            noted = records;
            output::note(&format!("{records} records are sealed again"));
        }
    };
    let resealed = store.reseal(told).await.map_err(|error| {
        store_remedy::explain(error)
            .context("the rekey is under way; run `certward rekey` again to continue it")
    })?;
    wait.until_replicas_are_sealed(rekey.to, timeout).await?;
    store.finish_rekey(rekey, wait.nodes()).await.map_err(|error| explain(error, wait, rekey.to))?;
    Ok(resealed)
}

fn explain(error: RekeyError, wait: &NodeWait<'_>, to: MasterKeyId) -> anyhow::Error {
    match error {
        RekeyError::Store(error) => store_remedy::explain(error),
        RekeyError::NotHeld(missing) => wait.not_ready(&missing, to),
        error @ RekeyError::UsedBefore(_) => anyhow::anyhow!(
            "{error}, and old copies of the store are sealed under it; nothing was changed. Give another key, or remove it to have one made"
        ),
        error @ RekeyError::UnderWay(_) => {
            anyhow::anyhow!("{error}; run `certward rekey` again, which completes it")
        }
    }
}

fn tell(
    args: &RekeyArgs,
    rekey: &Rekey,
    resealed: &Resealed,
    placed: &key_files::PlacedKey,
) -> anyhow::Result<()> {
    for record in &resealed.damaged {
        output::note(&format!(
            "certward: the record {record} opens with no key and was left as it is: it was damaged before"
        ));
    }
    if args.json {
        return output::say_json(&RekeyOutput {
            from: rekey.from.to_string(),
            to: rekey.to.to_string(),
            records: resealed.records,
            damaged: &resealed.damaged,
            master_key_place: &placed.place,
            old_key_place: placed.old.as_deref(),
            next: placed.next.as_deref(),
        });
    }
    let mut text = format!(
        "The master key is now {}, in {}; {} records were sealed again. Keep a copy of it, apart from the store.",
        rekey.to, placed.place, resealed.records
    );
    if let Some(old) = &placed.old {
        text.push_str(&format!(
            "\nThe key before, {}, is in {old}: backups from before need it. It opens nothing in the store any more;\n\
             make a new backup, and remove it with the last old one.",
            rekey.from
        ));
    }
    if let Some(next) = &placed.next {
        text.push_str(&format!("\nNext: {next}"));
    }
    output::say(&text)
}

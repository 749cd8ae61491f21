//! Wires, runs and drains store, lifecycle, gateway and API, as the role requires.
//!
//! The whole configuration is checked before a port is bound. A signal during the start takes
//! effect once everything runs.

mod api_certificate;
mod audit_head;
mod bound_node;
mod crl_fetches;
mod deployment_expiries;
mod expiry;
mod heartbeat;
mod key_watch;
#[cfg(test)]
mod metrics_page;
mod notify;
mod open_store;
mod optional_gauge;
mod outbound;
mod process_metrics;
mod prune;
mod reload;
mod running_node;
mod settings;
mod signals;
mod snapshot;
mod stages;
mod status_metrics;
mod takeover;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use certward_lifecycle::SystemEntropy;
use certward_store::Store;
use tokio::time::timeout;

use self::{
    bound_node::BoundNode,
    key_watch::WatchedKeys,
    reload::{ConfigPlace, Reload},
    running_node::RunningNode,
    signals::ProcessSignals,
    takeover::{HandedOver, Handover, InheritedSockets, Predecessor},
};
use crate::{
    cli::ServeArgs,
    config::{Config, LoadedConfig},
    log::{self, LogHandle},
    node_id::HeldNodeId,
    output, store_remedy,
    usage::exit_code,
};

/// To checkpoint the write-ahead log. With the deadlines of `running_node.rs`, and 1 s to record
/// the end: 33 s; docs/running.md says 35 s.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let place = ConfigPlace { path: args.config.config.clone(), role: args.role };
    let loaded = place.load();
    let section = loaded.as_ref().map_or_else(|_| place.log_section(), |loaded| loaded.config.log.clone());
    let level = log::start(&section)?;
    // What ends the process is in the log, like all else.
    let ended = loaded.and_then(|loaded| serve_as(loaded, place, level, args.takeover));
    Ok(ended.unwrap_or_else(|error| {
        tracing::error!("{}", output::one_line(&error));
        exit_code(&error)
    }))
}

fn serve_as(
    loaded: LoadedConfig,
    place: ConfigPlace,
    level: LogHandle,
    takeover: bool,
) -> anyhow::Result<ExitCode> {
    let LoadedConfig { config, warnings } = loaded;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Before there is a second thread.
    let inherited = InheritedSockets::from_systemd();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(serve(&config, place, level, inherited, takeover));
    // Does not wait for tasks that do not end.
    runtime.shutdown_background();
    result
}

async fn serve(
    config: &Config,
    place: ConfigPlace,
    level: LogHandle,
    inherited: InheritedSockets,
    takeover: bool,
) -> anyhow::Result<ExitCode> {
    let mut signals = ProcessSignals::catch()?;
    let predecessor = if takeover { Predecessor::find(&config.data_dir).await? } else { None };
    let store = tokio::select! {
        store = open_store::open(config, predecessor.is_some()) => store?,
        // A silent store must not block the end.
        () = signals.end() => return Ok(ExitCode::SUCCESS),
    };
    let outcome = serve_with(config, place, level, &store, inherited, predecessor, &mut signals).await;
    if timeout(STORE_CLOSE_TIMEOUT, store.close()).await.is_err() {
        tracing::warn!("the store did not close in time; it recovers at the next start");
    }
    outcome?;
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

async fn serve_with(
    config: &Config,
    place: ConfigPlace,
    level: LogHandle,
    store: &Store,
    mut inherited: InheritedSockets,
    predecessor: Option<Predecessor>,
    signals: &mut ProcessSignals,
) -> anyhow::Result<()> {
    for warning in config.store.iter().flat_map(|store| store.servers().warnings()) {
        tracing::warn!(config.key = "store", "{warning}");
    }
    let (node, handover) = take_place(config, store, predecessor, &mut inherited).await?;
    // The place is taken: no other process writes there.
    let replica = snapshot::open(config, store).await?;
    let bound = BoundNode::bind(config, store, node, replica, inherited)?;
    let keys = WatchedKeys::of(config);
    let reload = Reload { place, level, certificate: bound.reloader.clone(), keys: keys.clone() };
    RunningNode::start(bound, config, keys, handover).run(signals, &reload).await
}

/// Becomes this node, alone or by a take-over.
async fn take_place(
    config: &Config,
    store: &Store,
    predecessor: Option<Predecessor>,
    inherited: &mut InheritedSockets,
) -> anyhow::Result<(HeldNodeId, Option<Handover>)> {
    let Some(predecessor) = predecessor else {
        return Ok((HeldNodeId::take(&config.data_dir, &SystemEntropy)?, None));
    };
    let Some(HandedOver { sockets, node_lock, folder_lock, handover }) = predecessor.request().await? else {
        tracing::info!("the process to take over from has ended, starting normally");
        store.take_folder().map_err(store_remedy::explain)?;
        return Ok((HeldNodeId::take(&config.data_dir, &SystemEntropy)?, None));
    };
    if let Some(lock) = folder_lock {
        store.adopt_folder(lock).map_err(store_remedy::explain)?;
    }
    sockets.into_iter().for_each(|socket| inherited.add_descriptor(socket));
    Ok((HeldNodeId::adopt(&config.data_dir, node_lock, &SystemEntropy)?, Some(handover)))
}

//! Wires, runs and drains store, lifecycle, gateway and API, as the role requires.
//!
//! The whole configuration is checked before a port is bound. A signal during the start takes
//! effect once everything runs.

mod heartbeat;
mod notify;
mod prune;
mod settings;
mod signals;
mod snapshot;
mod stages;
mod status_metrics;
mod takeover;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use certward_api::{Api, ApiError, Reloader};
use certward_gateway::{Bound, Gateway, NoGateway, NodeReplica};
use certward_lifecycle::{Entropy, Lifecycle, SystemEntropy};
use certward_store::{Address, NodeId, NodeProcess, Role, Store, StoreError, SystemClock};
use prometheus_client::registry::Registry;
use tokio::{task::JoinSet, time::timeout};

use self::{
    signals::{ProcessSignal, ProcessSignals},
    stages::Stages,
    status_metrics::StatusMetrics,
    takeover::{
        Channel, HandedOver, Handover, InheritedSockets, Message, Offer, Predecessor, TakeoverListener,
    },
};
use crate::{
    cli::ServeArgs,
    config::{Config, ConfigSource, LoadedConfig},
    file_limit,
    log::{self, LogHandle},
    node_id::HeldNodeId,
    store_remedy,
    usage::UsageError,
};

/// Wait for the database when a snapshot exists. With the first feed read (1 s) a device waits
/// three seconds: docs/database-away.md.
const STORE_REACH_TIMEOUT: Duration = Duration::from_secs(2);

/// After `[gateway] drain`: to record that the node has left, and for the last devices.
const DRAIN_GRACE: Duration = Duration::from_secs(7);

/// Then for requests; the API itself cuts them off earlier.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(22);

/// To checkpoint the write-ahead log. With the two above and 1 s to record the end: 33 s;
/// docs/running.md says 35 s.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let place = ConfigPlace { path: args.config.config.clone(), role: args.role };
    let LoadedConfig { config, warnings } = place.load()?;
    let level = log::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Before there is a second thread.
    let inherited = InheritedSockets::from_systemd();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(serve(&config, place, level, inherited, args.takeover));
    // Does not wait for tasks that do not end.
    runtime.shutdown_background();
    result
}

/// Where SIGHUP reads the configuration again.
struct ConfigPlace {
    path: Option<PathBuf>,
    role: Option<Role>,
}

impl ConfigPlace {
    fn load(&self) -> anyhow::Result<LoadedConfig> {
        let gathered = ConfigSource::gather(self.path.as_deref(), std::env::vars_os())?;
        Ok(ConfigSource { role: self.role, ..gathered }.load()?)
    }
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
        store = open_store(config, predecessor.is_some()) => store?,
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
    let parts = Parts::bind(config, store, node, replica, inherited)?;
    let reload = Reload { place, level, certificate: parts.reloader.clone() };
    parts.run(config, handover, signals, &reload).await
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

/// `beside`: another process has the embedded store open. With a snapshot, an unreachable database
/// is [`Store::away`] and reached in the background.
async fn open_store(config: &Config, beside: bool) -> anyhow::Result<Store> {
    let address = config.store_address_of_node();
    let opened = if snapshot::is_there(config) {
        let store = Store::away(address, &config.read_master_key()?, Arc::new(SystemClock));
        reach_soon(&store).await.map(|()| store)
    } else {
        open_now(config, &address, beside).await?
    };
    match opened {
        Err(StoreError::NotInitialised) => {
            let place = match &config.store {
                None => format!("in {}", config.data_dir.display()),
                Some(_) => "in PostgreSQL".to_owned(),
            };
            Err(anyhow!(
                "the store {place} is not initialised; run `certward init` with the same configuration"
            ))
        }
        opened => opened.map_err(store_remedy::explain),
    }
}

/// Within devices' patience; a longer attempt goes on in the background.
async fn reach_soon(store: &Store) -> Result<(), StoreError> {
    let reaching = {
        let store = store.clone();
        tokio::spawn(async move { store.reach().await })
    };
    match timeout(STORE_REACH_TIMEOUT, reaching).await {
        Ok(Ok(Err(StoreError::Unavailable(reason)))) => {
            tracing::warn!("the database cannot be reached: {reason}");
            Ok(())
        }
        Ok(Ok(reached)) => reached,
        // Its panic is logged; the next user of the database retries.
        Ok(Err(_)) => Ok(()),
        Err(_) => {
            tracing::warn!("the database does not answer within {STORE_REACH_TIMEOUT:?}");
            Ok(())
        }
    }
}

/// Without a time limit.
async fn open_now(
    config: &Config,
    address: &Address,
    beside: bool,
) -> anyhow::Result<Result<Store, StoreError>> {
    // First: an uninitialised store has no master key.
    match if beside { Ok(true) } else { Store::is_initialised(address).await } {
        Ok(true) => {}
        Ok(false) => return Ok(Err(StoreError::NotInitialised)),
        Err(error) => return Ok(Err(error)),
    }
    let (master_key, clock) = (config.read_master_key()?, Arc::new(SystemClock));
    Ok(match beside {
        true => Store::open_beside(address, &master_key, clock).await,
        false => Store::open(address, &master_key, clock).await,
    })
}

struct Parts {
    api: certward_api::BoundApi,
    reloader: Option<Reloader>,
    /// `None` for the role `api`.
    devices: Option<Bound>,
    lifecycle: Lifecycle,
    node: HeldNodeId,
    metrics: certward_api::ApiMetrics,
    counts: StatusMetrics,
    registry: Registry,
}

impl Parts {
    fn bind(
        config: &Config,
        store: &Store,
        node: HeldNodeId,
        replica: Option<NodeReplica>,
        mut inherited: InheritedSockets,
    ) -> anyhow::Result<Self> {
        let files = file_limit::raise();
        let mut registry = Registry::default();
        let metrics = certward_api::register_metrics(&mut registry);
        let counts = StatusMetrics::register(&mut registry);
        let api = Api::bind_or_take(settings::of_api(config, files), |address| inherited.take(address))
            .map_err(explain_api)?;
        let settings = settings::of_gateway(config, api.address(), files);
        let devices = match config.role.has_gateway() {
            true => {
                let (id, clock) = (node.id.clone(), Arc::clone(store.clock()));
                let entropy = Arc::new(SystemEntropy);
                let gateway = Gateway::new(settings, id, clock, entropy, replica, &mut registry)?;
                Some(gateway.bind_or_take(|address| inherited.take(address))?)
            }
            false => None,
        };
        inherited.close_rest();
        let lifecycle = lifecycle(config, store, devices.as_ref());
        say_addresses(config, &api, devices.as_ref());
        let (role, version) = (config.role.as_str(), env!("CARGO_PKG_VERSION"));
        tracing::info!(node = %node.id, role, version, files, "started");
        Ok(Self { reloader: api.reloader(), api, devices, lifecycle, node, metrics, counts, registry })
    }

    /// Until a signal, a take-over, or an unexpected end; then drains.
    async fn run(
        self,
        config: &Config,
        handover: Option<Handover>,
        signals: &mut ProcessSignals,
        reload: &Reload,
    ) -> anyhow::Result<()> {
        let offer = self.offer();
        let Self { api, devices, lifecycle, metrics, counts, registry, node, .. } = self;
        let stages = Stages::new(handover.is_none());
        let id = node.id.clone();
        let gateway = devices.as_ref().map(|devices| devices.gateway().clone());
        if let Some(gateway) = &gateway {
            gateway.set_owned_by_other(handover.is_some());
        }
        let mut tasks = JoinSet::new();
        // Only a node with the API knows the window of the request limits.
        if config.role.has_api() {
            tasks.spawn(prune::run(lifecycle.store().clone(), config.limits.window, stages.end.clone()));
        }
        tasks.spawn(counts.run(lifecycle.store().clone(), stages.end.clone()));
        let process = NodeProcess { role: config.role, version: env!("CARGO_PKG_VERSION") };
        let (begin, end) = (stages.open.clone(), stages.end.clone());
        tasks.spawn(heartbeat::run(lifecycle.store().clone(), id.clone(), process, begin, end));
        tasks.spawn({
            let (lifecycle, stages, id) = (lifecycle.clone(), stages.clone(), id.clone());
            async move {
                let _drained = stages.drained.clone().drop_guard();
                match devices {
                    Some(devices) => serve_devices(devices, lifecycle, handover, stages).await,
                    None => serve_no_devices(&lifecycle, &id, handover, stages).await,
                }
            }
        });
        tasks.spawn({
            let (lifecycle, registry, stages) = (lifecycle.clone(), Arc::new(registry), stages.clone());
            async move {
                tokio::select! {
                    () = stages.open.cancelled() => {}
                    () = stages.end.cancelled() => return Ok(()),
                }
                Api::run(api, lifecycle, metrics, registry, stages.end).await.context("the API has ended")
            }
        });
        let mut successor = Box::pin(successor(config, offer, gateway.as_ref(), &stages));
        let outcome = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    ProcessSignal::Reload => reload.run(),
                    ProcessSignal::End => break Ok(None),
                },
                channel = &mut successor => break Ok(Some(channel)),
                ended = tasks.join_next() => break match ended {
                    Some(Ok(Err(e))) => Err(e),
                    Some(Err(e)) if e.is_panic() => Err(anyhow!("a part of certward has panicked")),
                    _ => Err(anyhow!("a part of certward has ended by itself")),
                },
            }
        };
        // Closes the offered sockets: none may queue connections in an ending process.
        drop(successor);
        notify::tell("STOPPING=1");
        tracing::info!(drain = ?config.gateway.drain, "ending: nothing new is accepted, connections and requests are drained");
        let (given_to, cause) = match outcome {
            Ok(given_to) => (given_to, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let ended = async {
            // Not after a take-over, nor after an error, which should stay visible.
            let ends = given_to.is_none() && stages.open.is_cancelled() && cause.is_ok();
            match given_to {
                Some(channel) => {
                    hand_over(&channel, gateway.as_ref(), node, lifecycle.store(), &stages).await
                }
                None => stages.drain.cancel(),
            }
            let devices = timeout(config.gateway.drain + DRAIN_GRACE, stages.drained.cancelled()).await;
            stages.end.cancel();
            let requests =
                timeout(REQUESTS_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
            if ends {
                heartbeat::end(lifecycle.store(), &id).await;
            }
            devices.and(requests)
        };
        tokio::select! {
            in_time = ended => if in_time.is_err() {
                tracing::warn!("the drain timed out: remaining connections and requests are cut off");
            },
            () = signals.end() => tracing::warn!("second signal to end: remaining connections and requests are cut off"),
        }
        cause
    }

    /// `None`, with a warning, without free descriptors.
    fn offer(&self) -> Option<Offer> {
        let offer = || -> std::io::Result<Offer> {
            let mut sockets = self.devices.as_ref().map_or(Ok(Vec::new()), Bound::share)?;
            sockets.push(self.api.share()?);
            let folder_lock = self.lifecycle.store().share_folder()?;
            Ok(Offer { sockets, node_lock: self.node.share_lock()?, folder_lock })
        };
        offer().inspect_err(|e| tracing::warn!("no other process can take over from this one: {e}")).ok()
    }
}

fn lifecycle(config: &Config, store: &Store, devices: Option<&Bound>) -> Lifecycle {
    let (store, settings) = (store.clone(), settings::of_lifecycle(config));
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    match devices {
        Some(devices) => {
            let gateway = Arc::new(devices.gateway().clone());
            Lifecycle::new(store, Arc::<Gateway>::clone(&gateway), gateway, entropy, settings)
        }
        None => {
            let none = Arc::new(NoGateway::new(Arc::clone(store.clock())));
            Lifecycle::new(store, Arc::<NoGateway>::clone(&none), none, entropy, settings)
        }
    }
}

fn say_addresses(config: &Config, api: &certward_api::BoundApi, devices: Option<&Bound>) {
    let listener = if config.role.has_api() { "api" } else { "health" };
    tracing::info!(listener, address = %api.address(), tls = config.api.cert.is_some(), "listening");
    let Some(bound) = devices else { return };
    for (listener, address) in config.gateway.listeners().iter().zip(bound.addresses()) {
        match &listener.deployment {
            None => tracing::info!(listener = listener.protocol.as_str(), %address, "listening"),
            Some(id) => {
                tracing::info!(listener = listener.protocol.as_str(), %address, deployment.id = %id, "listening");
            }
        }
    }
}

/// With `handover`, accepts once the previous process has stopped.
async fn serve_devices(
    bound: Bound,
    lifecycle: Lifecycle,
    handover: Option<Handover>,
    stages: Stages,
) -> anyhow::Result<()> {
    let gateway = bound.gateway().clone();
    let prepared = bound.prepare(lifecycle, stages.drain.clone()).await;
    if stages.drain.is_cancelled() {
        return prepared.serve().await.context("the gateway has ended");
    }
    if let Some(handover) = handover {
        handover.ready().await?;
        gateway.set_owned_by_other(false);
    }
    begin(&stages);
    prepared.serve().await.context("the gateway has ended")
}

/// In place of the gateway.
async fn serve_no_devices(
    lifecycle: &Lifecycle,
    node: &NodeId,
    handover: Option<Handover>,
    stages: Stages,
) -> anyhow::Result<()> {
    if let Some(handover) = handover {
        handover.ready().await?;
    }
    begin(&stages);
    lifecycle.keep_swept(Some(node), stages.drain).await;
    Ok(())
}

fn begin(stages: &Stages) {
    stages.open.cancel();
    stages.serving.cancel();
    notify::tell("READY=1");
}

/// Pending if no process can take over.
async fn successor(
    config: &Config,
    offer: Option<Offer>,
    gateway: Option<&Gateway>,
    stages: &Stages,
) -> Channel {
    stages.serving.cancelled().await;
    match (offer, TakeoverListener::open(&config.data_dir)) {
        (Some(offer), Some(mut listener)) => listener.hand_over(&offer, gateway).await,
        _ => std::future::pending().await,
    }
}

/// Requests are answered and devices drained.
async fn hand_over(
    channel: &Channel,
    gateway: Option<&Gateway>,
    node: HeldNodeId,
    store: &Store,
    stages: &Stages,
) {
    if let Some(gateway) = gateway {
        gateway.set_owned_by_other(true);
    }
    stages.drain.cancel();
    stages.end.cancel();
    if let Some(gateway) = gateway {
        gateway.stopped().await;
    }
    drop(node);
    store.release_folder();
    match channel.send(Message::Done).await {
        Ok(()) => tracing::info!("another process has taken over"),
        Err(e) => tracing::warn!("the process that was taking over has ended: {e}"),
    }
}

/// Wrong files are configuration errors; a used address is not.
fn explain_api(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::Listen { .. } => anyhow::Error::from(error)
            .context("the API cannot be served; is another certward running, or another program on its port ([api] listen)?"),
        error => UsageError::new(format!("[api] cert and key: {:#}", anyhow::Error::from(error))).into(),
    }
}

struct Reload {
    place: ConfigPlace,
    level: LogHandle,
    certificate: Option<Reloader>,
}

impl Reload {
    /// Level and certificate are independent; on an error the old one stays.
    fn run(&self) {
        let level = self.place.load().and_then(|loaded| {
            self.level.set(loaded.config.log.level)?;
            Ok(loaded.config.log.level)
        });
        match level {
            Ok(level) => tracing::info!(log.level = ?level, "SIGHUP: the log level is read again"),
            Err(e) => tracing::error!("SIGHUP: the log level stays as it is: {e:#}"),
        }
        match self.certificate.as_ref().map(Reloader::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("SIGHUP: the API's certificate is read again"),
            Some(Err(e)) => {
                tracing::error!("SIGHUP: the API's certificate stays as it is: {:#}", anyhow::Error::from(e));
            }
        }
    }
}

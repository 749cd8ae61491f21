//! Every role in one process: store, lifecycle, gateway and API, wired, run and drained.
//!
//! All of the configuration is read and checked before a port is bound; a signal that comes while starting is
//! obeyed as soon as everything runs.

mod census;
mod prune;
mod settings;
mod signals;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use certward_api::{Api, ApiError, Reloader};
use certward_gateway::Gateway;
use certward_lifecycle::{Entropy, Lifecycle, SystemEntropy};
use certward_store::{Store, SystemClock};
use prometheus_client::registry::Registry;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{
    census::CensusMetrics,
    signals::{Signal, Signals},
};
use crate::{
    cli::ServeArgs,
    config::{Config, Loaded, Source},
    file_limit,
    log::{self, LogLevel},
    node_id::HeldNodeId,
    store_remedy,
    usage::Usage,
};

/// Beside `[gateway] drain`, until connections that still run are left behind: what a store needs to note that the node has left,
/// and what the last devices need to hear it.
const DEVICES_LEAVE: Duration = Duration::from_secs(7);

/// Then until requests that are still under way are left behind. The API itself cuts them off after so long.
const REQUESTS_END: Duration = Duration::from_secs(22);

/// For the store to bring its write-ahead log home. With the two before it 32 s: docs/operations.md
/// says 35 s.
const CLOSE: Duration = Duration::from_secs(3);

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let path = args.config.config.clone();
    let Loaded { config, warnings } = load(path.as_ref())?;
    let level = log::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(serve(&config, path, level));
    // A task that does not end keeps nobody waiting.
    runtime.shutdown_background();
    result
}

fn load(path: Option<&PathBuf>) -> anyhow::Result<Loaded> {
    Ok(Source::gather(path.map(PathBuf::as_path), std::env::vars_os())?.load()?)
}

async fn serve(config: &Config, path: Option<PathBuf>, level: LogLevel) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let store = tokio::select! {
        store = open_store(config) => store?,
        // A store that does not answer holds nobody.
        () = signals.end() => return Ok(ExitCode::SUCCESS),
    };
    let outcome = serve_with(config, path, level, &store, &mut signals).await;
    if timeout(CLOSE, store.close()).await.is_err() {
        tracing::warn!("the store did not close in time; it recovers at the next start");
    }
    outcome?;
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

async fn serve_with(
    config: &Config,
    path: Option<PathBuf>,
    level: LogLevel,
    store: &Store,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let node = HeldNodeId::take(&config.data_dir, &SystemEntropy)?;
    warn_of_missing_deployments(config, store).await;
    let parts = Parts::bind(config, store, &node)?;
    let reload = Reload { path, level, certificate: parts.reloader.clone() };
    parts.run(config, signals, &reload).await
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let address = config.store_address();
    if !Store::is_initialised(&address).await.map_err(store_remedy::explain)? {
        let place = match &config.store {
            None => format!("in {}", config.data_dir.display()),
            Some(_) => "in PostgreSQL".to_owned(),
        };
        return Err(anyhow!(
            "the store {place} is not initialised; run `certward init` with the same configuration"
        ));
    }
    let master_key = config.read_master_key()?;
    Store::open(&address, &master_key, Arc::new(SystemClock)).await.map_err(store_remedy::explain)
}

/// A deployment may be named before it is made: devices that come for it are refused until then.
async fn warn_of_missing_deployments(config: &Config, store: &Store) {
    for (key, id) in config.gateway.named_deployments() {
        match store.deployment(id).await {
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!(
                config.key = key,
                deployment = %id,
                "the configuration names a deployment that does not exist; its handshakes are refused until it does"
            ),
            Err(e) => {
                tracing::warn!(config.key = key, deployment = %id, "cannot look up whether it exists: {e}")
            }
        }
    }
}

/// Everything put together, its addresses taken, nothing accepted yet.
struct Parts {
    api: certward_api::Bound,
    reloader: Option<Reloader>,
    gateway: Gateway,
    gateway_bound: certward_gateway::Bound,
    lifecycle: Lifecycle,
    metrics: certward_api::ApiMetrics,
    census: CensusMetrics,
    registry: Registry,
}

impl Parts {
    fn bind(config: &Config, store: &Store, node: &HeldNodeId) -> anyhow::Result<Self> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let files = file_limit::raise();
        let mut registry = Registry::default();
        let metrics = certward_api::register_metrics(&mut registry);
        let census = CensusMetrics::register(&mut registry);
        let api = Api::bind(settings::of_api(config, files)).map_err(explain_api)?;
        let gateway = Gateway::new(
            settings::of_gateway(config, api.address(), files),
            node.id.clone(),
            Arc::clone(store.clock()),
            Arc::clone(&entropy),
            &mut registry,
        )?;
        let gateway_bound = gateway.bind()?;
        let lifecycle = Lifecycle::new(
            store.clone(),
            Arc::new(gateway.clone()),
            Arc::new(gateway.clone()),
            entropy,
            settings::of_lifecycle(config),
        );
        tracing::info!(listener = "api", address = %api.address(), tls = config.api.cert.is_some(), "listening");
        for (listener, address) in config.gateway.listeners().iter().zip(gateway_bound.addresses()) {
            match &listener.deployment {
                None => tracing::info!(listener = listener.protocol.as_str(), %address, "listening"),
                Some(id) => {
                    tracing::info!(listener = listener.protocol.as_str(), %address, deployment = %id, "listening");
                }
            }
        }
        tracing::info!(node = %node.id, version = env!("CARGO_PKG_VERSION"), files, "started");
        Ok(Self {
            reloader: api.reloader(),
            api,
            gateway,
            gateway_bound,
            lifecycle,
            metrics,
            census,
            registry,
        })
    }

    /// Runs until a signal asks for the end, or a part ends by itself; then drains the others.
    async fn run(self, config: &Config, signals: &mut Signals, reload: &Reload) -> anyhow::Result<()> {
        let Self { api, gateway, gateway_bound, lifecycle, metrics, census, registry, .. } = self;
        // Devices first: as long as they are seen off, whoever looks after this node is answered that it is not ready.
        let (drain, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(prune::run(lifecycle.store().clone(), config.limits.window, shutdown.clone()));
        tasks.spawn(census.run(lifecycle.store().clone(), shutdown.clone()));
        let drained = CancellationToken::new();
        tasks.spawn({
            let (lifecycle, drain, drained) =
                (lifecycle.clone(), drain.clone(), drained.clone().drop_guard());
            async move {
                let ended =
                    gateway.run(gateway_bound, lifecycle, drain).await.context("the gateway has ended");
                drop(drained);
                ended
            }
        });
        tasks.spawn({
            let (registry, shutdown) = (Arc::new(registry), shutdown.clone());
            async move {
                Api::run(api, lifecycle, metrics, registry, shutdown).await.context("the API has ended")
            }
        });
        let cause = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => reload.run(),
                    Signal::End => break Ok(()),
                },
                ended = tasks.join_next() => break match ended {
                    Some(Ok(Err(e))) => Err(e),
                    Some(Err(e)) if e.is_panic() => Err(anyhow!("a part of certward has panicked")),
                    _ => Err(anyhow!("a part of certward has ended by itself")),
                },
            }
        };
        tracing::info!(drain = ?config.gateway.drain, "ending: nothing new is accepted, what is under way is finished");
        let ended = async {
            drain.cancel();
            let devices = timeout(config.gateway.drain + DEVICES_LEAVE, drained.cancelled()).await;
            shutdown.cancel();
            let requests = timeout(REQUESTS_END, async { while tasks.join_next().await.is_some() {} }).await;
            devices.and(requests)
        };
        tokio::select! {
            in_time = ended => if in_time.is_err() {
                tracing::warn!("not all that was under way has ended in time; it is cut off");
            },
            () = signals.end() => tracing::warn!("asked to end again: what is under way is cut off"),
        }
        cause
    }
}

/// What makes the API's files wrong is configuration; an address that is taken is not.
fn explain_api(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::Listen { .. } => anyhow::Error::from(error)
            .context("the API cannot be served; is another certward running, or another program on its port ([api] listen)?"),
        error => Usage::new(format!("[api] cert and key: {:#}", anyhow::Error::from(error))).into(),
    }
}

/// What SIGHUP does.
struct Reload {
    path: Option<PathBuf>,
    level: LogLevel,
    certificate: Option<Reloader>,
}

impl Reload {
    /// Each of the two by itself: a fault in the one does not keep the other back. What cannot be read leaves things as they are.
    fn run(&self) {
        let level = load(self.path.as_ref()).and_then(|loaded| {
            self.level.set(loaded.config.log.level)?;
            Ok(loaded.config.log.level)
        });
        match level {
            Ok(level) => tracing::info!(level = ?level, "SIGHUP: the log level is read again"),
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

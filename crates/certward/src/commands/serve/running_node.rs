use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use certward_api::Api;
use certward_gateway::{Bound, Gateway};
use certward_lifecycle::Lifecycle;
use certward_store::{NodeId, NodeProcess, Store};
use tokio::{task::JoinSet, time::timeout};

use super::{
    audit_head,
    bound_node::BoundNode,
    crl_fetches,
    expiry::ExpiryTask,
    heartbeat::{self, Heartbeat},
    key_watch::{KeyWatch, WatchedKeys},
    notify, prune,
    reload::Reload,
    signals::{ProcessSignal, ProcessSignals},
    stages::Stages,
    takeover::{Channel, Handover, Message, Offer, TakeoverListener},
};
use crate::{config::Config, node_id::HeldNodeId};

/// After `[gateway] drain`: to record that the node has left, and for the last devices.
const DRAIN_GRACE: Duration = Duration::from_secs(7);

/// Then for requests; the API itself cuts them off earlier.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(22);

/// The tasks of a node, until it ends.
pub(super) struct RunningNode<'a> {
    config: &'a Config,
    stages: Stages,
    tasks: JoinSet<anyhow::Result<()>>,
    gateway: Option<Gateway>,
    lifecycle: Lifecycle,
    node: HeldNodeId,
    offer: Option<Offer>,
}

enum EndCause {
    Signal,
    TakenOver(Channel),
    Failure(anyhow::Error),
}

impl<'a> RunningNode<'a> {
    /// With `handover`, accepts once the previous process has stopped.
    pub(super) fn start(
        bound: BoundNode,
        config: &'a Config,
        keys: WatchedKeys,
        handover: Option<Handover>,
    ) -> Self {
        let offer = bound.offer();
        let BoundNode {
            api,
            reloader,
            devices,
            lifecycle,
            metrics,
            counts,
            alerts,
            crl_fetches,
            registry,
            node,
            ..
        } = bound;
        let (store, stages) = (lifecycle.store().clone(), Stages::new(handover.is_none()));
        let gateway = devices.as_ref().map(|devices| devices.gateway().clone());
        if let Some(gateway) = &gateway {
            gateway.set_owned_by_other(handover.is_some());
        }
        let mut tasks = JoinSet::new();
        if config.role.has_api() {
            let expiry = ExpiryTask::new(&lifecycle, node.id.clone(), reloader, alerts);
            tasks.spawn(expiry.run(stages.open.clone(), stages.end.clone()));
            let (begin, end) = (stages.open.clone(), stages.end.clone());
            tasks.spawn(crl_fetches::run(lifecycle.clone(), crl_fetches, begin, end));
        }
        // Only a node with the API knows the window of the request limits.
        if config.role.has_api() {
            tasks.spawn(prune::run(store.clone(), config.limits.window, stages.end.clone()));
            tasks.spawn(audit_head::run(store.clone(), stages.end.clone()));
        }
        tasks.spawn(counts.run(store.clone(), stages.end.clone()));
        let process = NodeProcess { role: config.role, version: env!("CARGO_PKG_VERSION") };
        let heartbeat = Arc::new(Heartbeat::new(store.clone(), node.id.clone(), process));
        let key_watch = KeyWatch::new(keys, config, store, Arc::clone(&heartbeat));
        tasks.spawn(key_watch.run(stages.open.clone(), stages.end.clone()));
        tasks.spawn(heartbeat::run(heartbeat, stages.open.clone(), stages.end.clone()));
        tasks.spawn({
            let (lifecycle, stages, id) = (lifecycle.clone(), stages.clone(), node.id.clone());
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
        Self { config, stages, tasks, gateway, lifecycle, node, offer }
    }

    /// Until a signal, a take-over, or an unexpected end; then drains.
    pub(super) async fn run(mut self, signals: &mut ProcessSignals, reload: &Reload) -> anyhow::Result<()> {
        let cause = self.end_cause(signals, reload).await;
        notify::tell("STOPPING=1");
        let drain = self.config.gateway.drain;
        tracing::info!(?drain, "ending: nothing new is accepted, connections and requests are drained");
        let (channel, outcome) = match cause {
            EndCause::Signal => (None, Ok(())),
            EndCause::TakenOver(channel) => (Some(channel), Ok(())),
            EndCause::Failure(error) => (None, Err(error)),
        };
        // Not after a take-over, nor after an error, which should stay visible.
        let removes_process = channel.is_none() && outcome.is_ok() && self.stages.open.is_cancelled();
        tokio::select! {
            in_time = self.drain(channel, removes_process) => if !in_time {
                tracing::warn!("the drain timed out: remaining connections and requests are cut off");
            },
            () = signals.end() => tracing::warn!("second signal to end: remaining connections and requests are cut off"),
        }
        outcome
    }

    async fn end_cause(&mut self, signals: &mut ProcessSignals, reload: &Reload) -> EndCause {
        let Self { config, stages, tasks, gateway, offer, .. } = self;
        // On return the offered sockets are closed: none may queue connections in an ending
        // process.
        let mut successor = Box::pin(successor(config, offer.take(), gateway.as_ref(), stages));
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    ProcessSignal::Reload => reload.run(),
                    ProcessSignal::End => return EndCause::Signal,
                },
                channel = &mut successor => return EndCause::TakenOver(channel),
                ended = tasks.join_next() => return EndCause::Failure(match ended {
                    Some(Ok(Err(e))) => e,
                    Some(Err(e)) if e.is_panic() => anyhow!("a part of certward has panicked"),
                    _ => anyhow!("a part of certward has ended by itself"),
                }),
            }
        }
    }

    /// Whether all ended in time.
    async fn drain(self, channel: Option<Channel>, removes_process: bool) -> bool {
        let Self { config, stages, mut tasks, gateway, lifecycle, node, .. } = self;
        let (store, id) = (lifecycle.store(), node.id.clone());
        match channel {
            Some(channel) => hand_over(&channel, gateway.as_ref(), node, store, &stages).await,
            None => stages.drain.cancel(),
        }
        let devices = timeout(config.gateway.drain + DRAIN_GRACE, stages.drained.cancelled()).await;
        stages.end.cancel();
        let requests = timeout(REQUESTS_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
        if config.role.has_api() {
            audit_head::log_last(store).await;
        }
        if removes_process {
            heartbeat::end(store, &id).await;
        }
        devices.is_ok() && requests.is_ok()
    }
}

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

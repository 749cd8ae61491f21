//! Serves until the shutdown, then leaves and drains.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use certward_lifecycle::{Lifecycle, NodeView, Pace, periodically};
use tokio::{
    net::TcpListener,
    sync::{Mutex, OnceCell},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Gateway, GatewayError,
    accept::listener,
    context::NodeContext,
    devices::recorder,
    gateway::GatewayInner,
    session::drain::end_over,
    start::{Bound, NodeStart, Prepared, keep_ticket_keys},
    sync::{
        answers, backoff::until_done, broker_reports, follower::Follower, host_warmup::HostWarmup, lease,
        membership::Membership, replicator::Replicator,
    },
};

const TICKET_KEYS_INTERVAL: Duration = Duration::from_secs(1);
const EVICT_INTERVAL: Duration = Duration::from_secs(30);
const END_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(1);
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
const RECORD_INTERVAL: Duration = Duration::from_secs(5);
/// A session is noted once an hour.
const LIVE_SESSIONS_INTERVAL: Duration = Duration::from_secs(60);
/// Then the lease expires by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

impl Prepared {
    /// Serves until the shutdown; then stops accepting, leaves, and closes connections over
    /// [`crate::Deadlines::drain`]. Losing the store stops no handshake.
    ///
    /// # Errors
    /// [`GatewayError::Listener`]; [`GatewayError::Panicked`]: a node without a task must not stay
    /// counted.
    pub async fn serve(self) -> Result<(), GatewayError> {
        let Self { bound, follower, start, shutdown } = self;
        let inner = Arc::clone(&bound.gateway.inner);
        let connections = TaskTracker::new();
        let mut tasks = JoinSet::new();
        // Separate: live connections need changes of trust to the end; a node that drains is asked.
        let mut following = JoinSet::new();
        if let Some(NodeStart { start, names }) = start {
            accept(bound, &follower.context, &connections, &mut tasks, &shutdown)?;
            inner.ready.store(true, Ordering::Release);
            following.spawn(Arc::clone(&follower).run(start));
            following.spawn(answer_questions(Arc::clone(&inner), Arc::clone(&follower.context)));
            following.spawn(close_at_their_turn(Arc::clone(&follower.context)));
            // After the feed is followed: a join holds all changes until they are carried out.
            spawn_tasks(&mut tasks, &inner, &follower, names, &shutdown);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = panicked(&mut following) => return Err(GatewayError::Panicked),
                () = panicked(&mut tasks) => return Err(GatewayError::Panicked),
            }
        }
        inner.ready.store(false, Ordering::Release);
        // First, so that nothing renews or reports afterwards.
        while tasks.join_next().await.is_some() {}
        inner.reports.close().await;
        inner.stopped.cancel();
        leave(&inner, &follower.membership).await;
        drain(&inner, &connections).await;
        recorder::record_the_last(&inner.devices, &follower.context.store).await;
        follower.context.refusals.log_all(Instant::now());
        follower.context.lost_devices.log_all(Instant::now());
        if let Some(replicator) = &inner.replicator {
            replicator.close().await;
        }
        Ok(())
    }
}

fn accept(
    bound: Bound,
    context: &Arc<NodeContext>,
    connections: &TaskTracker,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), GatewayError> {
    let GatewayInner { settings, doorkeeper, .. } = &*bound.gateway.inner;
    for (listener, socket) in settings.listeners.iter().zip(bound.sockets) {
        let socket = TcpListener::from_std(socket).map_err(GatewayError::Listener)?;
        tasks.spawn(listener::accept(
            Arc::clone(context),
            Arc::new(listener.clone()),
            socket,
            Arc::clone(doorkeeper),
            connections.clone(),
            shutdown.clone(),
        ));
    }
    Ok(())
}

fn spawn_tasks(
    tasks: &mut JoinSet<()>,
    inner: &Arc<GatewayInner>,
    follower: &Arc<Follower>,
    names: HostWarmup,
    shutdown: &CancellationToken,
) {
    let lifecycle = &follower.lifecycle;
    tasks.spawn(lease::keep(Arc::clone(follower), inner.settings.lease / 3, shutdown.clone()));
    tasks.spawn(fill(Arc::clone(follower), names, shutdown.clone()));
    if let Some(replicator) = &inner.replicator {
        tasks.spawn(copy(Arc::clone(replicator), lifecycle.clone(), shutdown.clone()));
    }
    tasks.spawn({
        let (lifecycle, shutdown) = (lifecycle.clone(), shutdown.clone());
        async move { lifecycle.keep_swept(None, shutdown).await }
    });
    tasks.spawn(evict_unused(Arc::clone(&follower.context), shutdown.clone()));
    tasks.spawn(end_in_time(Arc::clone(&follower.context), shutdown.clone()));
    tasks.spawn(log_devices(Arc::clone(&follower.context), shutdown.clone()));
    tasks.spawn(report_brokers(Arc::clone(inner), Arc::clone(&follower.context), shutdown.clone()));
    tasks.spawn(record_devices(Arc::clone(&follower.context), shutdown.clone()));
    tasks.spawn(note_live_sessions(Arc::clone(&follower.context), shutdown.clone()));
    tasks.spawn(rotate_ticket_keys(Arc::clone(inner), Arc::clone(follower), shutdown.clone()));
}

/// Tasks may also end normally.
async fn panicked(tasks: &mut JoinSet<()>) {
    loop {
        match tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

async fn fill(follower: Arc<Follower>, names: HostWarmup, shutdown: CancellationToken) {
    let names = Mutex::new(names);
    let store = follower.lifecycle.store();
    until_done(store, &shutdown, "the index of hosts cannot be filled", || follower.fill(&names)).await;
}

async fn copy(replicator: Arc<Replicator>, lifecycle: Lifecycle, shutdown: CancellationToken) {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = replicator.run(lifecycle.store()) => {}
    }
}

async fn evict_unused(context: Arc<NodeContext>, shutdown: CancellationToken) {
    let evict = || async {
        let now = Instant::now();
        context.registry.sweep(now);
        context.session_ages.sweep(&context.registry);
        context.client_ends.sweep(&context.registry);
        context.stale_crls.sweep(&context.registry);
        context.upstreams.sweep(now);
        context.broker_health.sweep(now);
        Ok::<_, Infallible>(())
    };
    let what = "unused table entries cannot be evicted";
    periodically(what, Pace::Later(EVICT_INTERVAL), &context.store, shutdown, evict).await;
}

async fn end_in_time(context: Arc<NodeContext>, shutdown: CancellationToken) {
    let end = || async {
        context.end_in_time().await;
        Ok::<_, Infallible>(())
    };
    let what = "sessions whose time is over cannot be ended";
    periodically(what, Pace::Later(END_INTERVAL), &context.store, shutdown, end).await;
}

async fn close_at_their_turn(context: Arc<NodeContext>) {
    context.paced_closes.run().await;
}

async fn log_devices(context: Arc<NodeContext>, shutdown: CancellationToken) {
    let log = || async {
        let now = Instant::now();
        context.refusals.log(now);
        context.lost_devices.log(now);
        context.broker_health.log(now);
        Ok::<_, Infallible>(())
    };
    let what = "what devices meet cannot be logged";
    periodically(what, Pace::Later(LOG_INTERVAL), &context.store, shutdown, log).await;
}

async fn report_brokers(inner: Arc<GatewayInner>, context: Arc<NodeContext>, shutdown: CancellationToken) {
    let begun = OnceCell::new();
    let report = || async {
        begun.get_or_try_init(|| broker_reports::begin(&context.store, &inner.node)).await?;
        broker_reports::report(&context.broker_health, &context.store, &inner.node).await
    };
    let what = "the state of brokers cannot be reported";
    periodically(what, Pace::AtOnce(REPORT_INTERVAL), &context.store, shutdown, report).await;
}

async fn record_devices(context: Arc<NodeContext>, shutdown: CancellationToken) {
    let record = || recorder::record(&context.devices, &context.store, &*context.clock);
    let what = "what this node sees of devices cannot be recorded";
    periodically(what, Pace::Later(RECORD_INTERVAL), &context.store, shutdown, record).await;
}

async fn note_live_sessions(context: Arc<NodeContext>, shutdown: CancellationToken) {
    let note = || async {
        recorder::note_live_sessions(&context.devices, &context.registry, &context.clock).await;
        Ok::<_, Infallible>(())
    };
    let what = "live sessions cannot be noted";
    periodically(what, Pace::Later(LIVE_SESSIONS_INTERVAL), &context.store, shutdown, note).await;
}

async fn answer_questions(inner: Arc<GatewayInner>, context: Arc<NodeContext>) {
    let is_owned_by_other = || inner.owned_by_other.load(Ordering::Acquire);
    let view: Arc<dyn NodeView> = Arc::new(Gateway { inner: Arc::clone(&inner) });
    answers::keep_answering(&view, &context.store, &inner.node, is_owned_by_other).await;
}

async fn rotate_ticket_keys(inner: Arc<GatewayInner>, follower: Arc<Follower>, shutdown: CancellationToken) {
    let what = "the session ticket keys cannot be renewed";
    let keep = || async {
        let kept = keep_ticket_keys(&inner, &follower).await;
        if let (Err(_), Some(replicator)) = (&kept, &inner.replicator) {
            replicator.forget_old_ticket_keys(&inner.ring).await;
        }
        kept
    };
    let store = follower.lifecycle.store();
    periodically(what, Pace::Later(TICKET_KEYS_INTERVAL), store, shutdown, keep).await;
}

async fn leave(inner: &GatewayInner, membership: &Membership) {
    if inner.owned_by_other.load(Ordering::Acquire) {
        return;
    }
    match timeout(LEAVE_TIMEOUT, membership.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the store has not recorded that this node leaves: {error}"),
        Err(_) => tracing::warn!("the store has not recorded that this node leaves: it does not answer"),
    }
}

async fn drain(inner: &GatewayInner, connections: &TaskTracker) {
    connections.close();
    let GatewayInner { settings, registry, entropy, .. } = inner;
    let deadlines = &settings.deadlines;
    tracing::info!(connections = registry.total(), over = ?deadlines.drain, "draining: connections are closed one by one");
    let ended = end_over(registry, deadlines.drain, &**entropy);
    tokio::select! {
        () = connections.wait() => return,
        () = ended => {}
    }
    // Registered since: their handshakes were in progress.
    registry.close_all();
    // Closing takes at most twice the deadline.
    let _ = timeout(deadlines.close * 2, connections.wait()).await;
}

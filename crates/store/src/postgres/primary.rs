//! Which configured PostgreSQL server is the primary, and whether it answers.
//!
//! One task probes the servers: every few seconds, on suspicion, and with backoff while there is
//! none; then all callers are refused at once, without dialling. A server is used if it takes
//! writes, is the same database as before, and was not replaced (see [`ServerStatus`]): neither a
//! wrong URL nor an old primary is written to. [`LastSeen`] extends this over restarts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sqlx::{Any, AnyConnection, Connection, Pool};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    StoreError,
    postgres::{
        known_database::{DatabaseIdentity, LastSeen},
        server_status::ServerStatus,
        servers::{DatabaseServer, Servers},
    },
    sealed::random,
};

/// To connect and read the status; detects a silent network.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Wait for other servers once one is found: they may have replaced it.
const STRAGGLER_TIMEOUT: Duration = Duration::from_millis(500);
/// Without suspicion.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Under suspicion.
const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(250);
/// Wait for a connection before the server is suspected.
const SUSPECT_AFTER: Duration = Duration::from_millis(250);
/// A hung disk must not delay a fail-over.
const IDENTITY_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Backoff while there is no server: doubles, each shortened by up to a half.
const PROBE_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

#[derive(Debug)]
pub(crate) struct PrimaryTracker {
    servers: Servers,
    state: watch::Sender<TrackerState>,
    suspicion: Notify,
    last_seen: Option<Arc<LastSeen>>,
    /// The master key has confirmed the database.
    proven: AtomicBool,
    /// As last logged.
    logged: Mutex<Vec<Option<String>>>,
}

#[derive(Debug)]
pub(crate) struct TrackerTask(AbortHandle);

impl Drop for TrackerTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Clone)]
struct TrackerState {
    /// The server in use, or last used.
    server: usize,
    epoch: u64,
    since: Instant,
    timeline: i64,
    identity: Option<String>,
    down: Option<String>,
    /// The identity's file, until a server is used.
    remembered: Option<String>,
}

struct ServerRefusal {
    why: String,
    /// Unlike a standby, needs an operator.
    wrong: bool,
}

enum ProbeResult {
    Status(ServerStatus),
    /// Alive, but out of connections: open ones stay in use.
    Full,
    Nothing(String),
}

impl PrimaryTracker {
    pub(crate) async fn open(servers: Servers) -> Result<Arc<Self>, StoreError> {
        let last_seen = servers.last_seen().map(|path| Arc::new(LastSeen::at(path)));
        let seen = last_seen.as_ref().and_then(|last_seen| last_seen.read());
        let state = TrackerState {
            server: 0,
            epoch: 0,
            since: Instant::now(),
            timeline: seen.as_ref().map_or(0, |seen| seen.timeline),
            identity: seen.map(|seen| seen.identity),
            down: Some(String::new()),
            remembered: last_seen.as_ref().map(|last_seen| last_seen.path().display().to_string()),
        };
        let tracker = Self {
            logged: Mutex::new(servers.all().iter().map(|_| None).collect()),
            servers,
            state: watch::Sender::new(state),
            suspicion: Notify::new(),
            last_seen,
            proven: AtomicBool::default(),
        };
        tracker.probe(&[]).await.map_err(StoreError::Unavailable)?;
        Ok(Arc::new(tracker))
    }

    pub(crate) fn server(&self) -> DatabaseServer {
        self.servers.all()[self.state.borrow().server].clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.state.borrow().epoch
    }

    pub(crate) fn is_current(&self, age: Duration) -> bool {
        self.state.borrow().since.elapsed() >= age
    }

    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Resolves at the next recovery or fail-over after the call.
    pub(crate) fn usable_again(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.subscribe();
        async move {
            // Not sent for every probe.
            loop {
                if state.changed().await.is_err() {
                    return std::future::pending().await;
                }
                if state.borrow().down.is_none() {
                    return;
                }
            }
        }
    }

    pub(crate) async fn check(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        let checked = async {
            let status = ServerStatus::ask(conn).await?;
            let refusal = refusal(&status, &self.state.borrow());
            refusal.map_or(Ok(()), |refusal| Err(StoreError::Unavailable(refusal.why)))
        };
        checked.await.inspect_err(|_| self.suspect())
    }

    /// Fails as soon as the database is down.
    pub(crate) async fn through<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.subscribe();
        let patient = async {
            let mut work = std::pin::pin!(work);
            match timeout(SUSPECT_AFTER, &mut work).await {
                Ok(done) => done,
                Err(_) => {
                    self.suspect();
                    work.await
                }
            }
        };
        tokio::select! {
            biased;
            why = down(&mut state) => Err(StoreError::Unavailable(why)),
            done = patient => done.inspect_err(|_| self.suspect()),
        }
    }

    /// The master key has confirmed the database: stores its identity.
    pub(crate) async fn remember(&self) {
        self.proven.store(true, Ordering::Relaxed);
        let (identity, timeline) = {
            let state = self.state.borrow();
            (state.identity.clone(), state.timeline)
        };
        self.store_identity(identity, timeline).await;
    }

    async fn store_identity(&self, identity: Option<String>, timeline: i64) {
        let (Some(last_seen), Some(identity)) = (self.last_seen.clone(), identity) else { return };
        if self.proven.load(Ordering::Relaxed) {
            let keep = move || last_seen.keep(&DatabaseIdentity { identity, timeline });
            let _ = timeout(IDENTITY_WRITE_TIMEOUT, tokio::task::spawn_blocking(keep)).await;
        }
    }

    /// Once for each cause.
    fn log_unusable(&self, wrong: &[Option<String>]) {
        let mut logged = self.logged.lock();
        for ((logged, why), server) in logged.iter_mut().zip(wrong).zip(self.servers.all()) {
            if let Some(why) = why.as_ref().filter(|why| logged.as_ref() != Some(*why)) {
                tracing::warn!(database = server.name(), "this server is not used: {why}");
            }
            logged.clone_from(why);
        }
    }

    pub(crate) fn keep(self: &Arc<Self>, pools: Vec<Pool<Any>>) -> TrackerTask {
        let tracker = Arc::clone(self);
        TrackerTask(tokio::spawn(async move { tracker.run(&pools).await }).abort_handle())
    }

    async fn run(&self, pools: &[Pool<Any>]) {
        let mut pause = PROBE_BACKOFF.0;
        loop {
            if self.state.borrow().down.is_some() {
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(PROBE_BACKOFF.1);
            } else {
                pause = PROBE_BACKOFF.0;
                sleep(PROBE_INTERVAL_MIN).await;
                let _ = timeout(PROBE_INTERVAL, self.suspicion.notified()).await;
            }
            if let Err(why) = self.probe(pools).await {
                self.set_down(why);
            }
        }
    }

    fn set_down(&self, why: String) {
        self.state.send_if_modified(|state| {
            let first = state.down.is_none();
            if first {
                tracing::warn!("the database cannot be used: {why}");
            }
            state.down = Some(why);
            first
        });
    }

    async fn probe(&self, pools: &[Pool<Any>]) -> Result<(), String> {
        let found = probe_all(self.servers.all()).await;
        let state = self.state.borrow().clone();
        if state.down.is_none() && matches!(found[state.server], Some(ProbeResult::Full)) {
            return Ok(());
        }
        let mut reasons = Vec::new();
        let mut usable = Vec::new();
        let mut wrong: Vec<Option<String>> = found.iter().map(|_| None).collect();
        for (index, found) in found.iter().enumerate() {
            let why = match found {
                Some(ProbeResult::Status(status)) => match refusal(status, &state) {
                    None => {
                        usable.push((index, status));
                        continue;
                    }
                    Some(refusal) => {
                        wrong[index] = refusal.wrong.then(|| refusal.why.clone());
                        refusal.why
                    }
                },
                Some(ProbeResult::Full) => "it has no room for another connection".to_owned(),
                Some(ProbeResult::Nothing(why)) => why.clone(),
                None => "it did not answer in time".to_owned(),
            };
            reasons.push(format!("{}: {why}", self.servers.all()[index].name()));
        }
        // Without a known identity the intended server is unknown.
        if usable.windows(2).any(|pair| pair[0].1.identity != pair[1].1.identity) {
            let names: Vec<&str> =
                usable.iter().map(|(index, _)| self.servers.all()[*index].name()).collect();
            return Err(format!(
                "the servers {} are different databases, and each of them takes writes; leave the right one in `store`",
                names.join(" and ")
            ));
        }
        let best = usable.into_iter().max_by_key(|(index, status)| {
            (status.timeline, *index == state.server, std::cmp::Reverse(*index))
        });
        let Some((index, status)) = best else { return Err(reasons.join("; ")) };
        self.log_unusable(&wrong);
        // Before any write: a process started later must not return to the replaced server.
        self.store_identity(status.identity.clone(), status.timeline.max(state.timeline)).await;
        // Before the state is published, or the pools would dial the previous server again.
        for pool in pools {
            if let Ok(options) = self.servers.all()[index].any_options() {
                pool.set_connect_options(options);
            }
        }
        self.use_server(index, status);
        Ok(())
    }

    fn use_server(&self, index: usize, status: &ServerStatus) {
        let name = self.servers.all()[index].name();
        self.state.send_if_modified(|state| {
            let first = state.epoch == 0;
            let other = index != state.server || status.timeline > state.timeline;
            let back = state.down.take().is_some();
            if first || other {
                state.epoch += 1;
                state.since = Instant::now();
            }
            state.server = index;
            state.remembered = None;
            state.timeline = state.timeline.max(status.timeline);
            if status.identity.is_some() {
                state.identity.clone_from(&status.identity);
            }
            if !first && other {
                tracing::warn!(
                    database = name,
                    "the database has failed over: this server is used from now on"
                );
            } else if !first && back {
                tracing::info!(database = name, "the database can be used again");
            }
            first || other || back
        });
    }
}

async fn down(state: &mut watch::Receiver<TrackerState>) -> String {
    match state.wait_for(|state| state.down.is_some()).await {
        Ok(state) => state.down.clone().unwrap_or_default(),
        Err(_) => "it has been closed".to_owned(),
    }
}

fn refusal(status: &ServerStatus, state: &TrackerState) -> Option<ServerRefusal> {
    let wrong = |why| Some(ServerRefusal { why, wrong: true });
    if let Some(refusal) = status.refusal {
        return Some(ServerRefusal { why: refusal.to_owned(), wrong: false });
    }
    let if_meant = |file: &String| format!("if it is meant, stop this node and remove {file}");
    if state.identity.is_some() && status.identity != state.identity {
        return wrong(match &state.remembered {
            Some(file) => {
                format!("it is another database than the one that this node has used; {}", if_meant(file))
            }
            None => "it is another database than the one in use; take it out of `store`".to_owned(),
        });
    }
    if status.timeline < state.timeline {
        return wrong(match &state.remembered {
            Some(file) => format!(
                "a standby was promoted in its place, or it is older than what this node has seen, and it must not be \
                 written to; stop it; {}",
                if_meant(file)
            ),
            None => "a standby was promoted in its place, and it must not be written to; stop it".to_owned(),
        });
    }
    None
}

/// `None`: no answer in time.
async fn probe_all(servers: &[DatabaseServer]) -> Vec<Option<ProbeResult>> {
    let mut probes = JoinSet::new();
    for (index, server) in servers.iter().cloned().enumerate() {
        probes.spawn(async move { (index, probe_one(&server).await) });
    }
    let mut found: Vec<Option<ProbeResult>> = servers.iter().map(|_| None).collect();
    let mut until = tokio::time::Instant::now() + PROBE_TIMEOUT + STRAGGLER_TIMEOUT;
    while let Ok(Some(probe)) = tokio::time::timeout_at(until, probes.join_next()).await {
        let Ok((index, probe)) = probe else { continue };
        if matches!(&probe, ProbeResult::Status(status) if status.refusal.is_none()) {
            until = until.min(tokio::time::Instant::now() + STRAGGLER_TIMEOUT);
        }
        found[index] = Some(probe);
    }
    found
}

const TOO_MANY_CONNECTIONS: &str = "53300";

async fn probe_one(server: &DatabaseServer) -> ProbeResult {
    if let Some(why) = server.unreadable_file() {
        return ProbeResult::Nothing(why);
    }
    let probe = async {
        let mut conn = AnyConnection::connect_with(&server.any_options()?).await?;
        let status = ServerStatus::ask(&mut conn).await;
        let _ = conn.close().await;
        Ok::<_, sqlx::Error>(status)
    };
    match timeout(PROBE_TIMEOUT, probe).await {
        Ok(Ok(Ok(status))) => ProbeResult::Status(status),
        Ok(Ok(Err(e))) => ProbeResult::Nothing(reason(e)),
        Ok(Err(e)) => {
            let code = e.as_database_error().and_then(|e| e.code().map(|code| code.into_owned()));
            if code.is_some_and(|code| code == TOO_MANY_CONNECTIONS) {
                ProbeResult::Full
            } else {
                ProbeResult::Nothing(reason(e.into()))
            }
        }
        Err(_) => ProbeResult::Nothing("it did not answer in time".to_owned()),
    }
}

/// Without the prefix of [`StoreError`]'s text.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(why) => why,
        error => error.to_string(),
    }
}

/// Nodes must not dial at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    random::fill(&mut byte);
    pause - pause / 2 * u32::from(byte[0]) / 255
}

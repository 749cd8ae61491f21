//! Tracks which configured PostgreSQL server is the primary, and whether it answers.
//!
//! One task probes the servers: every few seconds, on suspicion, and with backoff while there is
//! none; then all callers are refused at once, without dialling. A server is used if it takes
//! writes, is the same database as before, and was not replaced (see [`ServerStatus`]): neither a
//! wrong URL nor an old primary is written to. [`LastSeen`] extends this over restarts.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

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
        servers::{Server, Servers},
    },
    sealed::random,
};

/// To connect and read the status; detects a silent network.
const LOOK: Duration = Duration::from_secs(3);
/// Wait for other servers once one is found: they may have replaced it.
const OTHERS: Duration = Duration::from_millis(500);
/// Without suspicion.
const REGULARLY: Duration = Duration::from_secs(5);
/// Under suspicion.
const BELIEVED: Duration = Duration::from_millis(250);
/// Wait for a connection before the server is suspected.
const PATIENCE: Duration = Duration::from_millis(250);
/// A hung disk must not delay a fail-over.
const KEEP: Duration = Duration::from_secs(1);
/// Backoff while there is no server: doubles, each shortened by up to a half.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

#[derive(Debug)]
pub(crate) struct PrimaryTracker {
    servers: Servers,
    state: watch::Sender<State>,
    suspicion: Notify,
    last_seen: Option<Arc<LastSeen>>,
    /// The master key has confirmed the database.
    proven: AtomicBool,
    /// As last logged.
    told: Mutex<Vec<Option<String>>>,
}

/// Aborts the task on drop.
#[derive(Debug)]
pub(crate) struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Clone)]
struct State {
    /// The server in use, or last used.
    server: usize,
    /// Counts changes of the server.
    epoch: u64,
    since: Instant,
    timeline: i64,
    identity: Option<String>,
    down: Option<String>,
    /// The identity's file, until a server is used.
    remembered: Option<String>,
}

struct Refusal {
    why: String,
    /// Unlike a standby, needs an operator.
    wrong: bool,
}

enum Found {
    ServerStatus(ServerStatus),
    /// Alive, but out of connections: open ones stay in use.
    Full,
    Nothing(String),
}

impl PrimaryTracker {
    pub(crate) async fn open(servers: Servers) -> Result<Arc<Self>, StoreError> {
        let last_seen = servers.last_seen().map(|path| Arc::new(LastSeen::at(path)));
        let seen = last_seen.as_ref().and_then(|last_seen| last_seen.read());
        let state = State {
            server: 0,
            epoch: 0,
            since: Instant::now(),
            timeline: seen.as_ref().map_or(0, |seen| seen.timeline),
            identity: seen.map(|seen| seen.identity),
            down: Some(String::new()),
            remembered: last_seen.as_ref().map(|last_seen| last_seen.path().display().to_string()),
        };
        let line = Self {
            told: Mutex::new(servers.all().iter().map(|_| None).collect()),
            servers,
            state: watch::Sender::new(state),
            suspicion: Notify::new(),
            last_seen,
            proven: AtomicBool::default(),
        };
        line.look(&[]).await.map_err(StoreError::Unavailable)?;
        Ok(Arc::new(line))
    }

    pub(crate) fn server(&self) -> Server {
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
            let standing = ServerStatus::ask(conn).await?;
            let refusal = refusal(&standing, &self.state.borrow());
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
            match timeout(PATIENCE, &mut work).await {
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
        self.keep_seen(identity, timeline).await;
    }

    async fn keep_seen(&self, identity: Option<String>, timeline: i64) {
        let (Some(last_seen), Some(identity)) = (self.last_seen.clone(), identity) else { return };
        if self.proven.load(Ordering::Relaxed) {
            let keep = move || last_seen.keep(&DatabaseIdentity { identity, timeline });
            let _ = timeout(KEEP, tokio::task::spawn_blocking(keep)).await;
        }
    }

    /// Once for each cause.
    fn tell(&self, wrong: &[Option<String>]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for ((told, why), server) in told.iter_mut().zip(wrong).zip(self.servers.all()) {
            if let Some(why) = why.as_ref().filter(|why| told.as_ref() != Some(*why)) {
                tracing::warn!(database = server.name(), "this server is not used: {why}");
            }
            told.clone_from(why);
        }
    }

    pub(crate) fn keep(self: &Arc<Self>, pools: Vec<Pool<Any>>) -> Keeper {
        let line = Arc::clone(self);
        Keeper(tokio::spawn(async move { line.run(&pools).await }).abort_handle())
    }

    async fn run(&self, pools: &[Pool<Any>]) {
        let mut pause = PAUSE.0;
        loop {
            if self.state.borrow().down.is_some() {
                sleep(shortened(pause)).await;
                pause = (pause * 2).min(PAUSE.1);
            } else {
                pause = PAUSE.0;
                sleep(BELIEVED).await;
                let _ = timeout(REGULARLY, self.suspicion.notified()).await;
            }
            if let Err(why) = self.look(pools).await {
                self.went_down(why);
            }
        }
    }

    fn went_down(&self, why: String) {
        self.state.send_if_modified(|state| {
            let first = state.down.is_none();
            if first {
                tracing::warn!("the database cannot be used: {why}");
            }
            state.down = Some(why);
            first
        });
    }

    async fn look(&self, pools: &[Pool<Any>]) -> Result<(), String> {
        let found = look_at(self.servers.all()).await;
        let state = self.state.borrow().clone();
        if state.down.is_none() && matches!(found[state.server], Some(Found::Full)) {
            return Ok(());
        }
        let mut reasons = Vec::new();
        let mut usable = Vec::new();
        let mut wrong: Vec<Option<String>> = found.iter().map(|_| None).collect();
        for (index, found) in found.iter().enumerate() {
            let why = match found {
                Some(Found::ServerStatus(standing)) => match refusal(standing, &state) {
                    None => {
                        usable.push((index, standing));
                        continue;
                    }
                    Some(refusal) => {
                        wrong[index] = refusal.wrong.then(|| refusal.why.clone());
                        refusal.why
                    }
                },
                Some(Found::Full) => "it has no room for another connection".to_owned(),
                Some(Found::Nothing(why)) => why.clone(),
                None => "it did not answer in time".to_owned(),
            };
            reasons.push(format!("{}: {why}", self.servers.all()[index].name()));
        }
        // Without a known identity the intended one cannot be told.
        if usable.windows(2).any(|pair| pair[0].1.identity != pair[1].1.identity) {
            let names: Vec<&str> =
                usable.iter().map(|(index, _)| self.servers.all()[*index].name()).collect();
            return Err(format!(
                "the servers {} are different databases, and each of them takes writes; leave the right one in `store`",
                names.join(" and ")
            ));
        }
        let best = usable.into_iter().max_by_key(|(index, standing)| {
            (standing.timeline, *index == state.server, std::cmp::Reverse(*index))
        });
        let Some((index, standing)) = best else { return Err(reasons.join("; ")) };
        self.tell(&wrong);
        // Before any write: a process started later must not return to the replaced server.
        self.keep_seen(standing.identity.clone(), standing.timeline.max(state.timeline)).await;
        // Before the state is published, or the pools would dial the previous server again.
        for pool in pools {
            if let Ok(options) = self.servers.all()[index].any_options() {
                pool.set_connect_options(options);
            }
        }
        self.take(index, standing);
        Ok(())
    }

    fn take(&self, index: usize, standing: &ServerStatus) {
        let name = self.servers.all()[index].name();
        self.state.send_if_modified(|state| {
            let first = state.epoch == 0;
            let other = index != state.server || standing.timeline > state.timeline;
            let back = state.down.take().is_some();
            if first || other {
                state.epoch += 1;
                state.since = Instant::now();
            }
            state.server = index;
            state.remembered = None;
            state.timeline = state.timeline.max(standing.timeline);
            if standing.identity.is_some() {
                state.identity.clone_from(&standing.identity);
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

async fn down(state: &mut watch::Receiver<State>) -> String {
    match state.wait_for(|state| state.down.is_some()).await {
        Ok(state) => state.down.clone().unwrap_or_default(),
        Err(_) => "it has been closed".to_owned(),
    }
}

fn refusal(standing: &ServerStatus, state: &State) -> Option<Refusal> {
    let wrong = |why| Some(Refusal { why, wrong: true });
    if let Some(refusal) = standing.refusal {
        return Some(Refusal { why: refusal.to_owned(), wrong: false });
    }
    let if_meant = |file: &String| format!("if it is meant, stop this node and remove {file}");
    if state.identity.is_some() && standing.identity != state.identity {
        return wrong(match &state.remembered {
            Some(file) => {
                format!("it is another database than the one that this node has used; {}", if_meant(file))
            }
            None => "it is another database than the one in use; take it out of `store`".to_owned(),
        });
    }
    if standing.timeline < state.timeline {
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
async fn look_at(servers: &[Server]) -> Vec<Option<Found>> {
    let mut looks = JoinSet::new();
    for (index, server) in servers.iter().cloned().enumerate() {
        looks.spawn(async move { (index, look_at_one(&server).await) });
    }
    let mut found: Vec<Option<Found>> = servers.iter().map(|_| None).collect();
    let mut until = tokio::time::Instant::now() + LOOK + OTHERS;
    while let Ok(Some(look)) = tokio::time::timeout_at(until, looks.join_next()).await {
        let Ok((index, look)) = look else { continue };
        if matches!(&look, Found::ServerStatus(standing) if standing.refusal.is_none()) {
            until = until.min(tokio::time::Instant::now() + OTHERS);
        }
        found[index] = Some(look);
    }
    found
}

/// `too_many_connections`
const TOO_MANY: &str = "53300";

async fn look_at_one(server: &Server) -> Found {
    if let Some(why) = server.unreadable_file() {
        return Found::Nothing(why);
    }
    let look = async {
        let mut conn = AnyConnection::connect_with(&server.any_options()?).await?;
        let standing = ServerStatus::ask(&mut conn).await;
        let _ = conn.close().await;
        Ok::<_, sqlx::Error>(standing)
    };
    match timeout(LOOK, look).await {
        Ok(Ok(Ok(standing))) => Found::ServerStatus(standing),
        Ok(Ok(Err(e))) => Found::Nothing(reason(e)),
        Ok(Err(e)) => {
            let code = e.as_database_error().and_then(|e| e.code().map(|code| code.into_owned()));
            if code.is_some_and(|code| code == TOO_MANY) {
                Found::Full
            } else {
                Found::Nothing(reason(e.into()))
            }
        }
        Err(_) => Found::Nothing("it did not answer in time".to_owned()),
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
fn shortened(pause: Duration) -> Duration {
    let mut byte = [0];
    random::fill(&mut byte);
    pause - pause / 2 * u32::from(byte[0]) / 255
}

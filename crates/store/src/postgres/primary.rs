//! The line to PostgreSQL: which of the configured servers is in use, and whether it answers.
//!
//! One task looks at the servers: when somebody suspects that the one in use is lost, else every few seconds, and
//! again and again while there is none. Everybody else only asks it: while the line is down, all of them are refused at
//! once, and nobody knocks at a server that does not answer.
//!
//! A server is used when it takes writes, is the same database as before, and has not been replaced by another one:
//! see [`ServerStatus`]. So a wrong URL in the list never splits the truth, and a primary that comes back after its standby
//! was promoted is not written to again; by [`LastSeen`] both hold over restarts.

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

/// How long a server has to be connected to and to say what it is. A network that has gone silent is found out so.
const LOOK: Duration = Duration::from_secs(3);
/// How long others may take once one was found, for one of them may have replaced it.
const OTHERS: Duration = Duration::from_millis(500);
/// How often is looked when nobody suspects anything.
const REGULARLY: Duration = Duration::from_secs(5);
/// Between two looks that found the server in order, whatever is suspected.
const BELIEVED: Duration = Duration::from_millis(250);
/// Who waits for a connection for so long suspects that there will be none.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a look waits for the disk to keep what it saw: one that hangs must not keep the node from a new primary.
const KEEP: Duration = Duration::from_secs(1);
/// Between two looks while there is no server: doubled from the first to the second, each shortened by up to a half.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What everybody asks.
#[derive(Debug)]
pub(crate) struct PrimaryTracker {
    servers: Servers,
    state: watch::Sender<State>,
    suspicion: Notify,
    last_seen: Option<Arc<LastSeen>>,
    /// The master key has shown that it is the right database: it is remembered.
    proven: AtomicBool,
    /// Why each server must not be used, where that was told.
    told: Mutex<Vec<Option<String>>>,
}

/// Ends the task with the connections.
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
    /// Grows with each change of the server.
    epoch: u64,
    /// Connections from before belong to a server that is not in use.
    since: Instant,
    /// The highest that was seen.
    timeline: i64,
    identity: Option<String>,
    /// Why nobody can be served.
    down: Option<String>,
    /// What is known is known from this file only: no server was used yet.
    remembered: Option<String>,
}

/// Why a server is not used.
struct Refusal {
    why: String,
    /// Somebody has to do something about it: it is no standby, which is as it should be.
    wrong: bool,
}

/// What a look at a server found.
enum Found {
    ServerStatus(ServerStatus),
    /// It lives, but has no room for another connection: those that are open are good.
    Full,
    Nothing(String),
}

impl PrimaryTracker {
    /// Looks at all servers for the first time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when none of them can be used.
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

    /// The server in use now, or the last one.
    pub(crate) fn server(&self) -> Server {
        self.servers.all()[self.state.borrow().server].clone()
    }

    /// Another number than before: another server.
    pub(crate) fn epoch(&self) -> u64 {
        self.state.borrow().epoch
    }

    /// Whether a connection of this age is one to the server in use.
    pub(crate) fn is_current(&self, age: Duration) -> bool {
        self.state.borrow().since.elapsed() >= age
    }

    /// The server in use may be lost: it is looked at.
    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Resolves when a server can be used again after none could, or another one is used. Counts from the call on.
    pub(crate) fn usable_again(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.subscribe();
        async move {
            // It is sent when the line goes down and when a server is taken, and not for every look.
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

    /// Checks a new connection of the pool.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it must not be used.
    pub(crate) async fn check(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        let checked = async {
            let standing = ServerStatus::ask(conn).await?;
            let refusal = refusal(&standing, &self.state.borrow());
            refusal.map_or(Ok(()), |refusal| Err(StoreError::Unavailable(refusal.why)))
        };
        checked.await.inspect_err(|_| self.suspect())
    }

    /// Does `work`, which needs a connection of the pool; but gives up when the line is down, or goes down meanwhile.
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

    /// From now on which database it is is kept: the master key is that of this one.
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

    /// Says of each server that is wrong, and of no other, why it is not used: once.
    fn tell(&self, wrong: &[Option<String>]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for ((told, why), server) in told.iter_mut().zip(wrong).zip(self.servers.all()) {
            if let Some(why) = why.as_ref().filter(|why| told.as_ref() != Some(*why)) {
                tracing::warn!(database = server.name(), "this server is not used: {why}");
            }
            told.clone_from(why);
        }
    }

    /// Starts the task that keeps the pools at the right server.
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

    /// Looks at all servers and takes the best one.
    ///
    /// # Errors
    /// Why there is none.
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
        // Before one was used it cannot be known which of them is meant.
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
        // Before anything is written there: whoever is started afterwards must not go back to what this one replaced.
        self.keep_seen(standing.identity.clone(), standing.timeline.max(state.timeline)).await;
        // Before anybody hears of it, or a connection to the server before would be made once more.
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

/// Why a server must not be used.
fn refusal(standing: &ServerStatus, state: &State) -> Option<Refusal> {
    let wrong = |why| Some(Refusal { why, wrong: true });
    if let Some(refusal) = standing.refusal {
        return Some(Refusal { why: refusal.to_owned(), wrong: false });
    }
    // What to do where it is known by the file only, and is meant.
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

/// Looks at all of them at once. `None` for those that have not answered when they were waited for long enough.
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

/// Without what [`StoreError`] says before it.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(why) => why,
        error => error.to_string(),
    }
}

/// By up to a half, so that the nodes of a fleet do not all come at once.
fn shortened(pause: Duration) -> Duration {
    let mut byte = [0];
    random::fill(&mut byte);
    pause - pause / 2 * u32::from(byte[0]) / 255
}

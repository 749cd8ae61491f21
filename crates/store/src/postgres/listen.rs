//! Hears at once what other processes commit: PostgreSQL's NOTIFY.
//!
//! A notification says only whose it is, and is a wake-up: what has happened, the feed tells, which readers look at every second
//! in any case. So nothing is lost while nobody listens, but time.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{
    AnyConnection, Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{StoreError, engine::lock, postgres::primary::PrimaryTracker, sealed::random};

const CHANNEL: &str = "certward";
/// A connection on which nothing was heard for so long is asked whether it lives: a network that has gone silent would never tell.
const SILENCE: Duration = Duration::from_secs(5);
/// How long it has to answer, and a new one to be made.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Who says it, so that nobody is woken by himself a second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotifySource(String);

impl NotifySource {
    pub(crate) fn draw() -> Self {
        let mut drawn = [0; 8];
        random::fill(&mut drawn);
        Self(u64::from_le_bytes(drawn).to_string())
    }
}

/// Wakes all others who listen when the transaction is committed. Does nothing on SQLite, where one process has the store.
pub(crate) async fn notify(conn: &mut AnyConnection, voice: &NotifySource) -> Result<(), StoreError> {
    if lock::is_postgres(conn) {
        let sql = "SELECT pg_notify($1, $2)::text";
        sqlx::query(sql).bind(CHANNEL).bind(&voice.0).execute(conn).await?;
    }
    Ok(())
}

/// The task that listens, on a connection of its own; it ends with this value.
#[derive(Debug)]
pub(crate) struct Listener(AbortHandle);

impl Listener {
    /// Listens to the server in use, whichever that is, and passes on that something was committed.
    pub(crate) fn start(line: Arc<PrimaryTracker>, changes: watch::Sender<()>, own: NotifySource) -> Self {
        Self(tokio::spawn(async move { run(&line, &changes, &own).await }).abort_handle())
    }

    /// Hears nothing any more, and lets go of its connection.
    pub(crate) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(line: &PrimaryTracker, changes: &watch::Sender<()>, own: &NotifySource) {
    loop {
        // Why it ended is no news: who keeps the line says what is wrong with the database, and once.
        if let Err(error) = listen(line, changes, own).await {
            tracing::debug!("changes of other nodes are only looked for each second: {error}");
        }
        sleep(PAUSE).await;
    }
}

/// Listens until the connection is lost, or its server is replaced.
async fn listen(
    line: &PrimaryTracker,
    changes: &watch::Sender<()>,
    own: &NotifySource,
) -> Result<(), StoreError> {
    let epoch = line.epoch();
    // The library makes listening connections only from a pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER)
        .connect_lazy_with(line.server().options()?);
    let mut listener = in_time(PgListener::connect_with(&pool)).await?;
    listener.eager_reconnect(false);
    in_time(listener.listen(CHANNEL)).await?;
    while line.epoch() == epoch {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(heard))) if heard.payload() == own.0 => {}
            Ok(Ok(Some(_))) => changes.send_replace(()),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => in_time(listener.execute("SELECT 1")).await.map(|_| ())?,
        }
    }
    Ok(())
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(ANSWER, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Unavailable(format!("it did not answer within {ANSWER:?}"))),
    }
}

//! Wake-ups on commits of other processes: PostgreSQL's NOTIFY.
//!
//! Readers poll the feed every second anyway: a lost notification costs time, not data. One about a
//! question costs an answer.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{
    AnyConnection, Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    StoreError,
    engine::lock,
    postgres::primary::PrimaryTracker,
    sealed::random,
    topic::{Topic, WakeUps},
};

/// Silence before a probe: a dead network reports nothing.
const SILENCE_BEFORE_PROBE: Duration = Duration::from_secs(5);
/// For a probe, and to connect.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A store handle's random id, to skip its own notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotifySource(String);

impl NotifySource {
    pub(crate) fn draw() -> Self {
        let mut drawn = [0; 8];
        random::fill(&mut drawn);
        Self(u64::from_le_bytes(drawn).to_string())
    }
}

/// Does nothing on SQLite, which has one process.
pub(crate) async fn notify(
    conn: &mut AnyConnection,
    topic: Topic,
    notify_source: &NotifySource,
) -> Result<(), StoreError> {
    if lock::is_postgres(conn) {
        let sql = "SELECT pg_notify($1, $2)::text";
        sqlx::query(sql).bind(topic.channel()).bind(&notify_source.0).execute(conn).await?;
    }
    Ok(())
}

/// Aborts the task on drop.
#[derive(Debug)]
pub(crate) struct ChangeListener(AbortHandle);

impl ChangeListener {
    pub(crate) fn start(tracker: Arc<PrimaryTracker>, wake_ups: WakeUps, own: NotifySource) -> Self {
        Self(tokio::spawn(async move { run(&tracker, &wake_ups, &own).await }).abort_handle())
    }

    pub(crate) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for ChangeListener {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(tracker: &PrimaryTracker, wake_ups: &WakeUps, own: &NotifySource) {
    loop {
        // `PrimaryTracker` logs the cause.
        if let Err(error) = listen(tracker, wake_ups, own).await {
            tracing::debug!("not listening for changes of other nodes; polling each second: {error}");
        }
        sleep(RECONNECT_PAUSE).await;
    }
}

/// Until the connection is lost or the server is replaced.
async fn listen(tracker: &PrimaryTracker, wake_ups: &WakeUps, own: &NotifySource) -> Result<(), StoreError> {
    let epoch = tracker.epoch();
    // sqlx makes listening connections only from a pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER_TIMEOUT)
        .connect_lazy_with(tracker.server().options()?);
    let mut listener = in_time(PgListener::connect_with(&pool)).await?;
    listener.eager_reconnect(false);
    in_time(listener.listen_all(Topic::ALL.map(Topic::channel))).await?;
    while tracker.epoch() == epoch {
        match timeout(SILENCE_BEFORE_PROBE, listener.try_recv()).await {
            Ok(Ok(Some(heard))) if heard.payload() == own.0 => {}
            Ok(Ok(Some(heard))) => {
                if let Some(topic) = Topic::of_channel(heard.channel()) {
                    wake_ups.wake(topic);
                }
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => in_time(listener.execute("SELECT 1")).await.map(|_| ())?,
        }
    }
    Ok(())
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(ANSWER_TIMEOUT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Unavailable(format!("it did not answer within {ANSWER_TIMEOUT:?}"))),
    }
}

use std::{net::IpAddr, time::Duration};

use certward_lifecycle::Lifecycle;
use certward_store::AuditEntry;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::refusal_sums::{RefusalSums, RefusedChange};

/// Of sums; also after a failure of the store.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);
/// Kept while the store is away.
const WAITING_MAX: usize = 1_000;
/// At the end, for a store that does not answer.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes refusals to the audit, beside the requests: a refusal is answered without a write.
#[derive(Debug, Default)]
pub(crate) struct RefusalRecorder {
    sums: Mutex<RefusalSums>,
    wake: Notify,
}

impl RefusalRecorder {
    pub(crate) fn refused(&self, refused: RefusedChange) {
        if self.sums.lock().refused(refused, Instant::now()) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn login_failed(&self, address: Option<IpAddr>) {
        self.sums.lock().login_failed(address, Instant::now());
    }

    /// Until `ended`; then writes what is left.
    pub(crate) async fn run(&self, lifecycle: &Lifecycle, ended: CancellationToken) {
        let mut waiting = Vec::new();
        while !ended.is_cancelled() {
            tokio::select! {
                () = ended.cancelled() => break,
                // Else at the next interval: failing writes must not follow each other.
                () = self.wake.notified(), if waiting.is_empty() => {}
                () = sleep(RECORD_INTERVAL) => {}
            }
            self.write(lifecycle, &mut waiting, false).await;
        }
        if timeout(LAST_WRITE_TIMEOUT, self.write(lifecycle, &mut waiting, true)).await.is_err() {
            tracing::warn!(rows = waiting.len(), "refusals are not recorded: the store does not answer");
        }
    }

    async fn write(&self, lifecycle: &Lifecycle, waiting: &mut Vec<AuditEntry>, ending: bool) {
        let due = self.sums.lock().take_due(Instant::now(), ending);
        let room = WAITING_MAX.saturating_sub(waiting.len());
        if due.len() > room {
            tracing::warn!(rows = due.len() - room, "refusals are not recorded: the store does not answer");
        }
        waiting.extend(due.into_iter().take(room));
        if waiting.is_empty() {
            return;
        }
        match lifecycle.record_refusals(waiting.clone()).await {
            Ok(()) => waiting.clear(),
            Err(error) => tracing::debug!(%error, rows = waiting.len(), "refusals wait to be recorded"),
        }
    }
}

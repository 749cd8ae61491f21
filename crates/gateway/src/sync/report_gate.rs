//! Whether this process reports proofs: now, later, or never again.
//!
//! During a hand-over both processes have the listeners, so a proof may reach the one and the next
//! device the other. The old process therefore holds its reports before the new one accepts, and
//! the new one proves only after the old one stopped accepting.

use tokio::sync::{Notify, RwLock, RwLockReadGuard};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
pub(crate) struct ReportGate {
    /// Read-locked by each report.
    held: RwLock<bool>,
    resumed: Notify,
    closed: CancellationToken,
}

impl ReportGate {
    /// A permit to report. `None`: held or closed.
    pub(crate) async fn open(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let held = self.held.read().await;
        (!*held && !self.closed.is_cancelled()).then_some(held)
    }

    /// On return no report is in progress, and none begins before [`ReportGate::resume`].
    pub(crate) async fn hold(&self) {
        *self.held.write().await = true;
    }

    pub(crate) async fn resume(&self) {
        *self.held.write().await = false;
        self.resumed.notify_one();
    }

    /// The other process's reports are unknown: prove everything again.
    pub(crate) async fn resumed(&self) {
        self.resumed.notified().await;
    }

    /// On return no report is in progress, and none begins again.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        drop(self.held.write().await);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_holds_reports_back_waits_for_those_under_way() {
        let reports = ReportGate::default();
        let under_way = reports.open().now_or_never().unwrap().expect("open at first");
        assert!(reports.hold().now_or_never().is_none());
        drop(under_way);
        reports.hold().now_or_never().unwrap();
        assert!(reports.open().now_or_never().unwrap().is_none());
        assert!(reports.resumed().now_or_never().is_none());
        reports.resume().now_or_never().unwrap();
        reports.resumed().now_or_never().unwrap();
        assert!(reports.open().now_or_never().unwrap().is_some());
        reports.close().now_or_never().unwrap();
        reports.resume().now_or_never().unwrap();
        assert!(reports.open().now_or_never().unwrap().is_none(), "closed is for ever");
    }
}

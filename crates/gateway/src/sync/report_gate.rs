//! Whether this process speaks for its node: its proofs are reported, held back, or never reported again.
//!
//! While a node passes from one process to the next, both hold its listeners. A proof is then worth nothing: the handshake may be the
//! one's and the next device's connection the other's. So the old process holds its proofs back before the new one may accept, and
//! the new one proves only after the old one has stopped accepting.

use tokio::sync::{Notify, RwLock, RwLockReadGuard};
use tokio_util::sync::CancellationToken;

/// Shared by the gateway and its follower.
#[derive(Debug, Default)]
pub(crate) struct ReportGate {
    /// Read while a report is under way.
    held: RwLock<bool>,
    resumed: Notify,
    closed: CancellationToken,
}

impl ReportGate {
    /// The right to report, until dropped. `None`: not now, or not any more.
    pub(crate) async fn open(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let held = self.held.read().await;
        (!*held && !self.closed.is_cancelled()).then_some(held)
    }

    /// When this returns, no report is under way, and none begins until [`ReportGate::resume`].
    pub(crate) async fn hold(&self) {
        *self.held.write().await = true;
    }

    /// Takes [`ReportGate::hold`] back.
    pub(crate) async fn resume(&self) {
        *self.held.write().await = false;
        self.resumed.notify_one();
    }

    /// Resolves when what was held back may be reported: everything is to be proven anew, for nobody knows what the other process
    /// has told the store.
    pub(crate) async fn resumed(&self) {
        self.resumed.notified().await;
    }

    /// The node is given up, or another process has it: when this returns, no report is under way, and none begins.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        drop(self.held.write().await);
    }

    pub(crate) fn are_closed(&self) -> bool {
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

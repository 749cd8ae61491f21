use std::time::Duration;

use sqlx::AnyConnection;

use crate::{
    Store, StoreError,
    engine::pool::transact,
    repo::{
        alert,
        audit::{self, AuditPruned},
        broker_trouble, device, device_total, feed, host_use, node, node_process, node_question, offer_day,
        request_log, upstream_claim,
    },
};

/// Older positions require a full read.
const FEED_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Writers must not wait long.
const PRUNED_AT_ONCE: u32 = 5_000;
/// Changes wait for it.
const AUDIT_PRUNED_AT_ONCE: u32 = 1_000;
/// Deleted, each is in five indexes; changes of their deployments wait for it.
const DEVICES_PRUNED_AT_ONCE: u32 = 5_000;
const CAUGHT_UP_AT_ONCE: u32 = 500;
/// Per run: 1,000,000 rows.
const PRUNES_MAX: u32 = 200;

impl Store {
    /// Prunes feed (7 days kept), alerts (400 days), devices and what was seen of them (90 days;
    /// addresses 7), reports of brokers, questions between nodes (a minute), nodes (silent for an
    /// hour) and request log (its window), and writes upstream claims that an older release
    /// omitted. Called periodically by one task per node.
    pub async fn prune(&self, request_window: Duration) -> Result<(), StoreError> {
        let engine = self.inner.engine()?;
        let now = self.now().await?;
        for _ in 0..PRUNES_MAX {
            let prune = async |conn: &mut AnyConnection| {
                let feed = feed::prune(conn, now.before(FEED_RETENTION), PRUNED_AT_ONCE).await?;
                let alerts = alert::prune(conn, now, PRUNED_AT_ONCE).await?;
                Ok(feed || alerts)
            };
            if !transact(engine.begin().await?, prune).await? {
                break;
            }
        }
        for _ in 0..PRUNES_MAX {
            let prune = async |conn: &mut AnyConnection| {
                let devices = device::prune(conn, now, DEVICES_PRUNED_AT_ONCE).await?;
                let addresses = device::prune_addresses(conn, now, PRUNED_AT_ONCE).await?;
                Ok(devices || addresses)
            };
            if !transact(engine.begin().await?, prune).await? {
                break;
            }
        }
        let reports = async |conn: &mut AnyConnection| {
            broker_trouble::prune(conn, now).await?;
            node_question::prune(conn, now).await?;
            offer_day::prune(conn, now).await?;
            host_use::prune(conn, now).await?;
            device_total::prune(conn, now).await?;
            node_process::prune(conn, now).await
        };
        transact(engine.begin().await?, reports).await?;
        // To the end: every claim scans the deployments without.
        let catch_up =
            async |conn: &mut AnyConnection| upstream_claim::catch_up(conn, CAUGHT_UP_AT_ONCE).await;
        while transact(engine.begin().await?, catch_up).await? {}
        // To the end: pages are short, and a failing one does not undo the above.
        let mut after = Some(String::new());
        while let Some(from) = after {
            let prune =
                async |conn: &mut AnyConnection| node::prune_counts(conn, &from, PRUNED_AT_ONCE).await;
            after = transact(engine.begin().await?, prune).await?;
        }
        for _ in 0..PRUNES_MAX {
            let before = now.before(request_window);
            let prune =
                async |conn: &mut AnyConnection| request_log::prune(conn, before, PRUNED_AT_ONCE).await;
            if !transact(engine.begin_on_requests().await?, prune).await? {
                break;
            }
        }
        engine.checkpoint().await
    }

    /// Overwrites what was erased in the logs that SQLite writes ahead, which [`Store::prune`]
    /// repeats; nothing on PostgreSQL. A reader may keep the logs until it ends.
    pub async fn overwrite_erased(&self) -> Result<(), StoreError> {
        self.inner.engine()?.checkpoint().await
    }

    /// Keeps about `kept` rows of the audit, with a checkpoint from which the chain continues.
    /// `false`: nothing was pruned, since rows are missing, which a checkpoint would hide.
    pub async fn prune_audit(&self, kept: u32) -> Result<bool, StoreError> {
        let engine = self.inner.engine()?;
        let now = self.now().await?;
        for _ in 0..PRUNES_MAX {
            let prune = async |conn: &mut AnyConnection| {
                audit::prune(conn, &self.inner.keys, now, kept.into(), AUDIT_PRUNED_AT_ONCE).await
            };
            match transact(engine.begin().await?, prune).await? {
                AuditPruned::Done => break,
                AuditPruned::MoreRemain => {}
                AuditPruned::Broken => return Ok(false),
            }
        }
        Ok(true)
    }
}

//! Waits for what the nodes report of their keys.

use std::time::Duration;

use certward_store::{KeyHolder, MasterKeyId, NodeId, RekeyNodes, Store};
use tokio::time::{Instant, sleep};

use super::opened_store::OpenedStore;
use crate::{config::Config, node_id, store_remedy};

const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct NodeWait<'a> {
    config: &'a Config,
    store: &'a Store,
    is_alone: bool,
    without: Vec<NodeId>,
    /// The only one that can use an embedded store; another one listed there is of a backup.
    own: Option<NodeId>,
}

impl<'a> NodeWait<'a> {
    pub(super) fn new(config: &'a Config, opened: &'a OpenedStore, without: &[NodeId]) -> Self {
        let own = config.store.is_none().then(|| node_id::look_up(&config.data_dir)).flatten();
        let OpenedStore { store, is_alone } = opened;
        Self { config, store, is_alone: *is_alone, without: without.to_vec(), own }
    }

    pub(super) fn nodes(&self) -> RekeyNodes<'_> {
        match self.is_alone {
            true => RekeyNodes::None,
            false => RekeyNodes::AllBut(&self.without),
        }
    }

    /// # Errors
    /// Names the nodes that do not hold it, and what to do.
    pub(super) async fn until_held(&mut self, key: MasterKeyId, timeout: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            // The process may have ended, with no report of its end.
            self.is_alone |= self.config.store.is_none() && self.store.take_folder().is_ok();
            let missing = self.without_others(|holder| holder.holds(key)).await?;
            if missing.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > timeout {
                return Err(self.not_held(&missing));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// # Errors
    /// Names the nodes whose replicas need the key before.
    pub(super) async fn until_replicas_are_sealed(
        &self,
        key: MasterKeyId,
        timeout: Duration,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let behind = self.listed(|holder| holder.needs_only(key)).await?;
            if behind.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > timeout {
                return Err(self.not_ready(&behind, key));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn without_others(&mut self, fits: impl Fn(&KeyHolder) -> bool) -> anyhow::Result<Vec<KeyHolder>> {
        let missing = self.listed(fits).await?;
        let Some(own) = &self.own else { return Ok(missing) };
        let (missing, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(|holder| holder.node == *own);
        self.without.extend(others.into_iter().map(|holder| holder.node));
        Ok(missing)
    }

    async fn listed(&self, fits: impl Fn(&KeyHolder) -> bool) -> anyhow::Result<Vec<KeyHolder>> {
        let listed = async {
            let now = self.store.now().await?;
            self.store.read().key_holders(now).await
        };
        Ok(self.nodes().without(listed.await.map_err(store_remedy::explain)?, fits))
    }

    /// Before the switch, nodes lack the new key; after it, their replicas need the one before.
    pub(super) fn not_ready(&self, missing: &[KeyHolder], key: MasterKeyId) -> anyhow::Error {
        if missing.iter().any(|holder| !holder.holds(key)) {
            return self.not_held(missing);
        }
        anyhow::anyhow!(
            "the store is sealed under the new master key, but the snapshots of these nodes are not yet: {}. See that they run, and \
             run `certward rekey` again; leave out one that is lost with --without NODE",
            names(missing)
        )
    }

    fn not_held(&self, missing: &[KeyHolder]) -> anyhow::Error {
        let place = self.config.master_key_sources().next.place();
        match self.config.store {
            None => anyhow::anyhow!(
                "the running certward does not hold the new master key, from {place}; nothing was switched. See its log for the \
                 reason; one of an older release is replaced first: `certward serve --takeover`"
            ),
            Some(_) => anyhow::anyhow!(
                "these nodes do not hold the new master key: {}. Give it to each, as master.key.next in its data folder, by \
                 master_key_next_file or CERTWARD_MASTER_KEY_NEXT (here it is in {place}), and run `certward rekey` again. The \
                 log of a node names a file that it cannot use; one of an older release is upgraded first; leave out one that is lost with --without NODE",
                names(missing)
            ),
        }
    }
}

fn names(holders: &[KeyHolder]) -> String {
    holders.iter().map(|holder| holder.node.to_string()).collect::<Vec<_>>().join(", ")
}

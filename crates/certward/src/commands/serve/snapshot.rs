use anyhow::{Context, anyhow};
use certward_gateway::NodeReplica;
use certward_store::{Replica, Store};

use crate::{config::Config, store_remedy};

/// Whether a start without the database is possible.
pub(super) fn is_there(config: &Config) -> bool {
    is_kept(config) && Replica::file_in(&config.data_dir).exists()
}

/// An embedded store is on this disk anyway.
fn is_kept(config: &Config) -> bool {
    config.store.is_some() && config.role.has_gateway()
}

/// `None` if none is kept. An unusable one is rebuilt, or ends a start without the database.
pub(super) async fn open(config: &Config, store: &Store) -> anyhow::Result<Option<NodeReplica>> {
    if !is_kept(config) {
        return Ok(None);
    }
    let replica = Replica::at(&config.data_dir, store.master_keys());
    let opened = async { if replica.open().await? { replica.mark().await } else { Ok(None) } };
    let file = replica.path().display().to_string();
    let opened = opened.await;
    if !matches!(opened, Ok(Some(_))) {
        // Without a replica, a slow database is waited for; the result shows below.
        let _ = store.reach().await;
    }
    let mark = match opened {
        Ok(None) if store.is_away() => {
            return Err(anyhow!(
                "the database is away, and this node's snapshot {file} was never whole; bring the database back first"
            ));
        }
        Ok(mark) => mark,
        Err(error) if store.is_away() => {
            return Err(store_remedy::explain(error)).with_context(|| {
                format!("the database is away, and this node's snapshot {file} cannot take its place")
            });
        }
        Err(error) => {
            tracing::warn!(file, "this node's snapshot cannot be used and is built again: {error}");
            if let Err(error) = replica.discard().await {
                tracing::warn!(file, "the unusable snapshot cannot be removed: {error}");
            }
            None
        }
    };
    Ok(Some(NodeReplica { replica, mark }))
}

//! Session ticket keys in the store: one sealed record per period of six hours.
//!
//! The first node draws a key; the others read it. Drawn one period ahead, so that an outage costs
//! no resumption until then. Expired records are deleted, and their tickets with them.

use std::sync::Arc;

use certward_lifecycle::Entropy;
use certward_store::{Reader, Replica, Store, StoreError};
use zeroize::Zeroizing;

use crate::config::tickets::{KeyRing, TicketKey};

/// Older releases kept one secret under exactly this name.
const NAME: &str = "session-tickets";

pub(crate) const NAMES: (&str, &str) = ("session-tickets.", "session-tickets/");

/// Zero-padded, so that names sort by period.
fn name(period: i64) -> String {
    format!("{NAME}.{:012}", period.max(0))
}

pub(crate) async fn keep_current(
    ring: &KeyRing,
    store: &Store,
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
    if ring.forget_old() {
        return Ok(());
    }
    let (now, periods) = (ring.period(), ring.periods());
    let oldest = *periods.start();
    let mut keys = Vec::new();
    for period in periods {
        let random = if period < now {
            store.read().secret(&name(period)).await?
        } else {
            let mut fresh = Zeroizing::new(vec![0; 32]);
            entropy.fill(&mut fresh);
            Some(store.secret_or_insert(&name(period), fresh).await?)
        };
        let Some(random) = random else { continue };
        keys.extend(read(period, &random));
    }
    ring.hold(keys);
    store.remove_secrets(NAME, &name(oldest)).await?;
    Ok(())
}

/// Loads the replica's keys, for a start without the store. Missing keys only cost full
/// handshakes.
pub(crate) async fn recall(ring: &KeyRing, replica: &Reader) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for period in ring.periods() {
        let random = replica.secret(&name(period)).await?;
        keys.extend(random.and_then(|random| read(period, &random)));
    }
    ring.hold(keys);
    Ok(())
}

pub(crate) async fn forget_old(ring: &KeyRing, snapshot: &Replica) -> Result<(), StoreError> {
    snapshot.remove_secrets(NAMES.0, &name(*ring.periods().start())).await?;
    Ok(())
}

fn read(period: i64, random: &[u8]) -> Option<Arc<TicketKey>> {
    let key = TicketKey::of(period, random);
    if key.is_none() {
        tracing::warn!(period, "a stored session ticket key is unusable: its tickets do not resume");
    }
    key.map(Arc::new)
}

//! The session ticket keys in the store: one sealed record for each period of six hours.
//!
//! Whichever node comes first draws the key, and all others read it. The next one is drawn one period ahead, so that a lost
//! store costs no resumption until then. Records whose time is over are removed, and with them what they sealed.

use std::sync::Arc;

use certward_lifecycle::Entropy;
use certward_store::{Replica, Store, StoreError};
use zeroize::Zeroizing;

use crate::config::tickets::{KeyRing, TicketKey};

/// What the records' names begin with. Releases before kept a single secret under this very name, which goes too.
const NAME: &str = "session-tickets";

/// The range in which all records' names are.
pub(crate) const NAMES: (&str, &str) = ("session-tickets.", "session-tickets/");

/// With as many digits as a period may have, so that names are in order.
fn name(period: i64) -> String {
    format!("{NAME}.{:012}", period.max(0))
}

/// Forgets the keys whose time is over, and brings those that are missing.
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
            store.secret(&name(period)).await?
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

/// Holds the keys that this node's snapshot has, for a start without the store. What is missing costs full handshakes, and
/// nothing else.
pub(crate) async fn recall(ring: &KeyRing, snapshot: &Replica) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for period in ring.periods() {
        let random = snapshot.secret(&name(period)).await?;
        keys.extend(random.and_then(|random| read(period, &random)));
    }
    ring.hold(keys);
    Ok(())
}

/// Removes the keys whose time is over from this node's snapshot.
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

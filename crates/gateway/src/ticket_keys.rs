//! The session ticket keys in the store: one sealed record for each period of six hours.
//!
//! Whichever node comes first draws the key, and all others read it. The next one is drawn one period ahead, so that a lost
//! store costs no resumption until then. Records whose time is over are removed, and with them what they sealed.

use std::sync::Arc;

use certward_lifecycle::Entropy;
use certward_store::{Store, StoreError};
use zeroize::Zeroizing;

use crate::tickets::{KeyRing, TicketKey};

/// What the records' names begin with. Releases before kept a single secret under this very name, which goes too.
const NAME: &str = "session-tickets";

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
        match TicketKey::of(period, &random) {
            Some(key) => keys.push(Arc::new(key)),
            None => tracing::warn!(
                period,
                "a session ticket key of the store is unusable: its tickets do not resume"
            ),
        }
    }
    ring.hold(keys);
    store.remove_secrets(NAME, &name(oldest)).await?;
    Ok(())
}

//! Disables core dumps: they would hold the master key and private keys.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// For good: `/proc` files belong to root, and its own user cannot attach (prctl(2),
/// `PR_SET_DUMPABLE`).
pub(crate) fn forbid() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

//! No core dump of this process: it would hold the master key and the private keys that are served.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Makes the process not dumpable, for good. Its files in `/proc` are root's from then on, and no process of its own user can attach
/// to it (prctl(2), `PR_SET_DUMPABLE`).
///
/// # Errors
/// What the system says; no Linux refuses it.
pub(crate) fn forbid() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

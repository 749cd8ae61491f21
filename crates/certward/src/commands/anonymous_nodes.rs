//! Nodes that identify no device: what they could not do is said on stderr.

use crate::output;

/// `what` is such as `its sessions through them go on`. Nothing is said if there are none.
pub(super) fn note(anonymous: &[String], what: &str) {
    if !anonymous.is_empty() {
        let nodes = output::plain(&anonymous.join(", "));
        output::note(&format!(
            "certward: devices in [gateway] is not \"full\" at {nodes}, which identify no devices; {what}"
        ));
    }
}

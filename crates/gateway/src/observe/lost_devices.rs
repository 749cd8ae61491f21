//! Devices that a change disconnected, or the end of their certificates; logged together.

use certward_store::DeploymentId;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::{reason::ClosedReason, tally::Tally};

/// A change reaches all connections in less.
const LOG_DELAY: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct LostDevices(Mutex<Tally<(DeploymentId, ChangeEffect), ()>>);

/// Why a change, or time, disconnects devices. An age is no loss: it was asked for, and devices
/// connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ChangeEffect {
    Untrusted,
    Expired,
    Deleted,
    Revoked,
    RevocationUnknown,
}

impl LostDevices {
    pub(crate) fn note(&self, deployment: &DeploymentId, reason: ClosedReason, now: Instant) {
        let effect = match reason {
            ClosedReason::Untrusted => ChangeEffect::Untrusted,
            ClosedReason::Expired => ChangeEffect::Expired,
            ClosedReason::Deleted => ChangeEffect::Deleted,
            ClosedReason::Revoked => ChangeEffect::Revoked,
            ClosedReason::RevocationUnknown => ChangeEffect::RevocationUnknown,
            _ => return,
        };
        self.0.lock().count(&(deployment.clone(), effect), now, || ());
    }

    /// Call it every few seconds.
    pub(crate) fn log(&self, now: Instant) {
        self.log_after(now, LOG_DELAY);
    }

    /// What would be lost at the end of the process.
    pub(crate) fn log_all(&self, now: Instant) {
        self.log_after(now, Duration::ZERO);
    }

    fn log_after(&self, now: Instant, after: Duration) {
        let (due, others) = self.0.lock().due(now, after);
        for ((deployment, effect), counted) in due {
            let count = counted.count;
            match effect {
                ChangeEffect::Untrusted => tracing::warn!(
                    deployment.id = %deployment, count,
                    "devices were disconnected: the deployment no longer trusts their certificates"
                ),
                ChangeEffect::Expired => tracing::warn!(
                    deployment.id = %deployment, count,
                    "devices were disconnected: their client certificates have ended"
                ),
                ChangeEffect::Deleted => tracing::warn!(
                    deployment.id = %deployment, count,
                    "devices were disconnected: the certificate was deleted"
                ),
                ChangeEffect::Revoked => tracing::warn!(
                    deployment.id = %deployment, count,
                    "devices were disconnected: their certificates are revoked"
                ),
                ChangeEffect::RevocationUnknown => tracing::warn!(
                    deployment.id = %deployment, count,
                    "devices were disconnected: a CRL that must be current is stale"
                ),
            }
        }
        if others > 0 {
            tracing::warn!(count = others, "more devices were disconnected by changes of other deployments");
        }
    }
}

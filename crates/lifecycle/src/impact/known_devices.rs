//! Known devices that are accepted today and would be refused: one verification for each path of
//! issuers, not for each device.

use certward_pki::{ClientRefusal, IssuerPathId};
use certward_store::{KnownPath, Timestamp};

use super::{public_material::PublicMaterial, verdict::RefusedShare};
use crate::{TrialVerdict, TrustTrial};

/// What a change does to known devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownVerdict {
    /// Devices that are accepted today.
    accepted: u64,
    /// Paths of those that would be refused.
    pub(super) refused: Vec<RefusedPath>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedPath {
    pub(super) path: IssuerPathId,
    pub(super) devices: u64,
    pub(super) refusal: ClientRefusal,
}

impl KnownVerdict {
    /// Verifies signatures: not on an async thread.
    pub(super) fn of(
        old: &PublicMaterial,
        new: &PublicMaterial,
        paths: &[KnownPath],
        now: Timestamp,
    ) -> Self {
        let trial = TrustTrial::new(&old.trust_change(new));
        let mut verdict = Self::default();
        for KnownPath { path, devices } in paths.iter().filter(|known| known.devices > 0) {
            match trial.judge(path, now.to_time()) {
                TrialVerdict::RefusedToday => continue,
                TrialVerdict::Accepted => (),
                TrialVerdict::Refused(refusal) => {
                    verdict.refused.push(RefusedPath { path: path.id, devices: *devices, refusal });
                }
            }
            verdict.accepted += devices;
        }
        verdict
    }

    pub(super) fn share(&self) -> RefusedShare {
        RefusedShare { refused: self.refused.iter().map(|path| path.devices).sum(), of: self.accepted }
    }
}

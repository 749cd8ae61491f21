//! The devices that need a client CA: accepted today, and refused without it.

use std::collections::{BTreeSet, HashSet};

use certward_pki::{IssuerPathId, TlsType};
use certward_store::{KnownPath, NameUse, NeedyPaths, Timestamp};

use super::usage::CasByAuthority;
use crate::{ProposedTrust, TrialVerdict, TrustChange, TrustTrial};

/// Who needs a client CA.
#[derive(Debug)]
pub(super) struct CaNeed {
    /// Refused without it.
    pub(super) needy: NeedyPaths,
    /// Accepted without it, too.
    accepted: HashSet<IssuerPathId>,
}

impl CaNeed {
    /// Verifies signatures: not on an async thread.
    pub(super) fn of(cas: &CasByAuthority, index: usize, paths: &[KnownPath], now: Timestamp) -> Self {
        let trust = |client_cas| ProposedTrust { tls_type: TlsType::TwoWay, client_cas };
        let all = cas.ders().iter().enumerate();
        let kept = all.filter(|(other, _)| *other != index).map(|(_, der)| der.clone()).collect();
        let trial =
            TrustTrial::new(&TrustChange { today: trust(cas.ders().to_vec()), proposed: trust(kept) });
        let mut need = Self { needy: NeedyPaths::default(), accepted: HashSet::new() };
        for KnownPath { path, .. } in paths {
            match trial.judge(path, now.to_time()) {
                TrialVerdict::RefusedToday => {}
                TrialVerdict::Accepted => drop(need.accepted.insert(path.id)),
                TrialVerdict::Refused(_) => drop(need.needy.paths.insert(path.id)),
            }
        }
        // Without an example there is only what was recorded; a renewed CA admits them still.
        if cas.of_same_ca(index).count() == 1 {
            need.needy.client_cas = BTreeSet::from([cas.fingerprint(index).to_owned()]);
        }
        need
    }

    /// Whether the devices of a name have moved on: for each certificate that needs the client CA,
    /// one of the same name that does not was seen since. Of several devices of one name, none is
    /// taken for another.
    pub(super) fn has_moved(&self, of_name: &[NameUse]) -> bool {
        let (needy, others): (Vec<_>, Vec<_>) = of_name.iter().partition(|one| self.is_needy(one));
        let Some(last) = needy.iter().map(|one| one.last).max() else { return false };
        let since = |one: &NameUse| match (one.first > last, one.last > last) {
            (true, _) => one.certificates,
            (false, true) => 1,
            (false, false) => 0,
        };
        let accepted = others.iter().filter(|one| one.path.is_some_and(|path| self.accepted.contains(&path)));
        accepted.map(|one| since(one)).sum::<u64>() >= needy.iter().map(|one| one.certificates).sum()
    }

    fn is_needy(&self, one: &NameUse) -> bool {
        match one.path {
            Some(path) if self.needy.paths.contains(&path) => true,
            Some(path) if self.accepted.contains(&path) => false,
            _ => self.needy.client_cas.contains(&one.client_ca),
        }
    }
}

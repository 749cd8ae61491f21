//! Which client CA admits how many devices, and when it last did.

use std::collections::HashMap;

use certward_pki::{AuthorityId, IssuerPath, IssuerPathId, fingerprint};
use certward_store::{KnownPath, PathUse, Timestamp};

/// The devices of one CA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CaUsage {
    /// How many were seen within each span.
    pub(super) seen: Vec<u64>,
    /// `None`: none is known.
    pub(super) last_seen_at: Option<Timestamp>,
}

/// Client CAs, of which some may be of one CA.
#[derive(Debug, Clone)]
pub(super) struct CasByAuthority {
    /// DER.
    client_cas: Vec<Vec<u8>>,
    authorities: Vec<Option<AuthorityId>>,
    fingerprints: Vec<String>,
}

impl CasByAuthority {
    pub(super) fn new(client_cas: Vec<Vec<u8>>) -> Self {
        Self {
            authorities: client_cas.iter().map(|der| AuthorityId::of(der)).collect(),
            fingerprints: client_cas.iter().map(|der| fingerprint(der)).collect(),
            client_cas,
        }
    }

    pub(super) fn ders(&self) -> &[Vec<u8>] {
        &self.client_cas
    }

    pub(super) fn fingerprint(&self, index: usize) -> &str {
        &self.fingerprints[index]
    }

    /// Those of the CA, this one too.
    pub(super) fn of_same_ca(&self, index: usize) -> impl Iterator<Item = usize> {
        let authority = self.authorities[index];
        let is_same =
            move |other: usize| other == index || authority.is_some() && self.authorities[other] == authority;
        (0..self.client_cas.len()).filter(move |other| is_same(*other))
    }

    /// The first certificate of each CA.
    pub(super) fn firsts(&self) -> impl Iterator<Item = usize> {
        (0..self.client_cas.len()).filter(|index| self.of_same_ca(*index).next() == Some(*index))
    }

    /// One for each client CA; those of one CA have the same. Verifies signatures: not on an async
    /// thread.
    pub(super) fn usage(&self, paths: &[KnownPath], uses: &[PathUse]) -> Vec<CaUsage> {
        let examples: HashMap<IssuerPathId, &IssuerPath> =
            paths.iter().map(|known| (known.path.id, &known.path)).collect();
        let mut led_to = HashMap::new();
        let mut usage = vec![CaUsage::default(); self.client_cas.len()];
        for of_path in uses {
            let index = match of_path.path.and_then(|path| examples.get(&path)) {
                Some(path) => {
                    *led_to.entry(path.id).or_insert_with(|| path.client_ca_among(&self.client_cas))
                }
                // What was recorded may be a certificate that is gone.
                None => self.fingerprints.iter().position(|known| *known == of_path.client_ca),
            };
            for index in index.into_iter().flat_map(|index| self.of_same_ca(index)) {
                usage[index].add(of_path);
            }
        }
        usage
    }

    /// Of counts for each client CA: the sum of its CA.
    pub(super) fn summed(&self, counts: &[u64]) -> Vec<u64> {
        let count = |index: usize| counts.get(index).copied().unwrap_or_default();
        (0..self.client_cas.len()).map(|index| self.of_same_ca(index).map(count).sum()).collect()
    }
}

impl CaUsage {
    fn add(&mut self, of_path: &PathUse) {
        self.seen.resize(self.seen.len().max(of_path.seen.len()), 0);
        self.seen.iter_mut().zip(&of_path.seen).for_each(|(sum, seen)| *sum += seen);
        self.last_seen_at = self.last_seen_at.max(Some(of_path.last_seen_at));
    }
}

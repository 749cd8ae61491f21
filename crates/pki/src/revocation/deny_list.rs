use std::collections::HashSet;

use crate::{DenyKey, DenyKeys};

/// Certificates that a deployment refuses, by [`DenyKey`]: found in constant time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenyList(HashSet<DenyKey>);

impl DenyList {
    /// Whether one of a certificate's keys is on it.
    pub fn has(&self, keys: &DenyKeys) -> bool {
        !self.0.is_empty() && keys.iter().any(|key| self.0.contains(key))
    }

    /// Whether nothing is on it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are on it.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<DenyKey> for DenyList {
    fn from_iter<T: IntoIterator<Item = DenyKey>>(keys: T) -> Self {
        let mut list: HashSet<DenyKey> = keys.into_iter().collect();
        list.shrink_to_fit();
        Self(list)
    }
}

impl Extend<DenyKey> for DenyList {
    fn extend<T: IntoIterator<Item = DenyKey>>(&mut self, keys: T) {
        self.0.extend(keys);
    }
}

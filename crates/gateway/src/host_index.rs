//! Which deployment a host leads to: every host of every deployment, so that an invented name never reaches the store
//! once it is full.
//!
//! Only a keyed 64-bit hash of each host is kept, 20 bytes and the slack of a hash table. Should two hosts ever share a hash,
//! one of them is not found any more; the other deployment is never served in its place, for whoever asks the index must
//! then verify that the deployment really has the host.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use certward_pki::HostName;
use certward_store::DeploymentId;

#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    /// Keyed at random for each process, so that nobody can make up hosts that collide.
    key: RandomState,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    hosts: HashMap<HostHash, u32, BuildHasherDefault<AlreadyHashed>>,
    places: HashMap<DeploymentId, u32>,
    deployments: Vec<Option<Place>>,
    free: Vec<u32>,
    /// While it is being filled: what was set or removed for a better reason than that the store had it so when its page was read.
    newer: HashSet<DeploymentId>,
    is_listed: bool,
}

#[derive(Debug)]
struct Place {
    id: DeploymentId,
    hosts: Box<[HostHash]>,
}

/// Two halves, so that a row of the table is 12 bytes and not 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostHash([u32; 2]);

impl HostIndex {
    /// The deployment of exactly this name or wildcard.
    pub(crate) fn find(&self, host: &HostName) -> Option<DeploymentId> {
        let hash = self.hash(host);
        let tables = self.read();
        let place = *tables.hosts.get(&hash)?;
        tables.deployments.get(place as usize)?.as_ref().map(|place| place.id.clone())
    }

    /// These and no other hosts lead to the deployment from now on.
    pub(crate) fn set(&self, id: &DeploymentId, hosts: &[HostName]) {
        let hosts: Box<[HostHash]> = hosts.iter().map(|host| self.hash(host)).collect();
        let mut tables = self.write();
        tables.note_newer(id);
        let place = tables.place(id);
        tables.clear(place);
        for hash in &hosts {
            tables.hosts.insert(*hash, place);
        }
        tables.deployments[place as usize] = Some(Place { id: id.clone(), hosts });
    }

    /// These hosts led to the deployment when its page was read, while the index is being filled: what is known of it, or of one of
    /// the hosts, by something newer than the page stays.
    pub(crate) fn list(&self, id: &DeploymentId, hosts: &[HostName]) {
        let hosts: Box<[HostHash]> = hosts.iter().map(|host| self.hash(host)).collect();
        let mut tables = self.write();
        if tables.newer.contains(id) {
            return;
        }
        let place = tables.place(id);
        tables.clear(place);
        for hash in &hosts {
            tables.hosts.entry(*hash).or_insert(place);
        }
        tables.deployments[place as usize] = Some(Place { id: id.clone(), hosts });
    }

    /// All pages are listed.
    pub(crate) fn end_list(&self) {
        let mut tables = self.write();
        tables.newer = HashSet::new();
        tables.is_listed = true;
    }

    /// Forgets everything, to be filled from elsewhere.
    pub(crate) fn forget(&self) {
        *self.write() = Tables::default();
    }

    /// Nothing leads to the deployment any more.
    pub(crate) fn remove(&self, id: &DeploymentId) {
        let mut tables = self.write();
        tables.note_newer(id);
        if let Some(place) = tables.places.remove(id) {
            tables.clear(place);
            tables.deployments[place as usize] = None;
            tables.free.push(place);
        }
    }

    /// All deployments of the index.
    pub(crate) fn deployments(&self) -> Vec<DeploymentId> {
        self.read().places.keys().cloned().collect()
    }

    fn hash(&self, host: &HostName) -> HostHash {
        let hash = self.key.hash_one(host.as_str());
        HostHash([(hash >> 32) as u32, hash as u32])
    }

    // Nothing that holds the lock can panic half-way through a change.
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn note_newer(&mut self, id: &DeploymentId) {
        if !self.is_listed && !self.newer.contains(id) {
            self.newer.insert(id.clone());
        }
    }

    fn place(&mut self, id: &DeploymentId) -> u32 {
        if let Some(place) = self.places.get(id) {
            return *place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.deployments.push(None);
            // Four thousand million deployments do not fit into a machine's memory.
            (self.deployments.len() - 1) as u32
        });
        self.places.insert(id.clone(), place);
        place
    }

    /// Takes the hosts of a place out, but for those that lead elsewhere by now: a host may have moved on.
    fn clear(&mut self, place: u32) {
        let Some(old) = self.deployments[place as usize].take() else { return };
        for hash in &old.hosts {
            if self.hosts.get(hash) == Some(&place) {
                self.hosts.remove(hash);
            }
        }
    }
}

impl Hash for HostHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
    }
}

/// Passes a hash through: hashing it again would gain nothing.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only HostHash is hashed, and it writes one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    #[test]
    fn a_host_leads_to_its_deployment_until_it_is_taken_away() {
        let index = HostIndex::default();
        index.set(&id("a"), &[host("a.example.com"), host("*.example.org")]);
        assert_eq!(index.find(&host("a.example.com")), Some(id("a")));
        assert_eq!(index.find(&host("*.example.org")), Some(id("a")));
        assert_eq!(index.find(&host("b.example.org")), None, "the index does not expand wildcards");

        index.set(&id("a"), &[host("b.example.com")]);
        assert_eq!(index.find(&host("a.example.com")), None);
        assert_eq!(index.find(&host("b.example.com")), Some(id("a")));

        index.remove(&id("a"));
        assert_eq!(index.find(&host("b.example.com")), None);
        assert!(index.deployments().is_empty());
    }

    #[test]
    fn a_host_that_moves_is_found_whichever_change_is_heard_of_first() {
        let index = HostIndex::default();
        index.set(&id("a"), &[host("x.example.com")]);
        index.set(&id("b"), &[host("x.example.com")]);
        index.set(&id("a"), &[]);
        assert_eq!(index.find(&host("x.example.com")), Some(id("b")));
    }

    #[test]
    fn a_page_that_was_read_before_a_change_undoes_nothing_of_it() {
        let (x, y) = (host("x.example.com"), host("y.example.com"));
        // The page has x with a; meanwhile a was removed and x is b's.
        let index = HostIndex::default();
        index.remove(&id("a"));
        index.set(&id("b"), std::slice::from_ref(&x));
        index.list(&id("a"), std::slice::from_ref(&x));
        assert_eq!(index.find(&x), Some(id("b")));
        assert_eq!(index.deployments(), [id("b")]);

        // Meanwhile x went from a to b, and b is heard of first.
        let index = HostIndex::default();
        index.set(&id("b"), std::slice::from_ref(&x));
        index.list(&id("a"), &[x.clone(), y.clone()]);
        assert_eq!(index.find(&x), Some(id("b")));
        index.set(&id("a"), std::slice::from_ref(&y));
        assert_eq!((index.find(&x), index.find(&y)), (Some(id("b")), Some(id("a"))));

        // A page that is read again, after an error, is listed once.
        index.list(&id("c"), &[host("z.example.com")]);
        index.list(&id("c"), &[host("z.example.com")]);
        index.end_list();
        assert_eq!(index.find(&host("z.example.com")), Some(id("c")));
        assert_eq!(index.deployments().len(), 3);
        assert!(index.read().newer.is_empty());
    }

    #[test]
    fn a_place_that_became_free_is_used_again() {
        let index = HostIndex::default();
        for round in 0..1000 {
            let id = id(&format!("d{round}"));
            index.set(&id, &[host("x.example.com")]);
            index.remove(&id);
        }
        assert_eq!(index.read().deployments.len(), 1);
    }

    #[test]
    fn a_row_is_twelve_bytes() {
        assert_eq!(size_of::<(HostHash, u32)>(), 12);
    }
}

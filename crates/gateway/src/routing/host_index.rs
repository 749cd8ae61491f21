//! The deployment of every host. Once complete, unknown names never reach the store.
//!
//! A host costs a keyed 64-bit hash, 20 bytes and the table's slack. If two hosts share a hash, one
//! is not found. The other's deployment is never served instead: the caller must verify its hosts.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use certward_pki::HostName;
use certward_store::DeploymentId;
use hashbrown::{HashTable, hash_table::Entry};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    /// Random per process, against prepared collisions.
    key: RandomState,
    tables: RwLock<HostTables>,
}

#[derive(Debug, Default)]
struct HostTables {
    hosts: HashTable<HostRow>,
    /// Indices into `deployments`, by id.
    places: HashTable<u32>,
    deployments: Vec<Option<IndexedDeployment>>,
    free: Vec<u32>,
    /// During warm-up: ids that the feed changed; an older page must not overwrite them.
    newer: HashSet<DeploymentId>,
    is_listed: bool,
}

#[derive(Debug, Clone, Copy)]
struct HostRow {
    host: HostHash,
    place: u32,
}

#[derive(Debug)]
struct IndexedDeployment {
    id: DeploymentId,
    hosts: Hosts,
}

/// Saves an allocation for most deployments.
#[derive(Debug)]
enum Hosts {
    One(HostHash),
    Others(Box<[HostHash]>),
}

/// Makes a table row 12 bytes instead of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostHash([u32; 2]);

impl HostIndex {
    /// Exact name or wildcard.
    pub(crate) fn find(&self, host: &HostName) -> Option<DeploymentId> {
        let hash = self.hash(host);
        let tables = self.read();
        let place = tables.place_of_host(hash)?;
        tables.deployments.get(place as usize)?.as_ref().map(|place| place.id.clone())
    }

    pub(crate) fn set(&self, id: &DeploymentId, hosts: &[HostName]) {
        let hosts = self.hashes(hosts);
        let mut tables = self.write();
        tables.note_newer(id);
        let place = tables.place(&self.key, id);
        tables.clear(place);
        for hash in hosts.as_slice() {
            match tables.row(*hash) {
                Entry::Occupied(mut row) => row.get_mut().place = place,
                Entry::Vacant(row) => drop(row.insert(HostRow { host: *hash, place })),
            }
        }
        tables.deployments[place as usize] = Some(IndexedDeployment { id: id.clone(), hosts });
    }

    /// Adds a row of a warm-up page. Newer knowledge of the deployment or its hosts stays.
    pub(crate) fn list(&self, id: &DeploymentId, hosts: &[HostName]) {
        let hosts = self.hashes(hosts);
        let mut tables = self.write();
        if tables.newer.contains(id) {
            return;
        }
        let place = tables.place(&self.key, id);
        tables.clear(place);
        for hash in hosts.as_slice() {
            tables.row(*hash).or_insert(HostRow { host: *hash, place });
        }
        tables.deployments[place as usize] = Some(IndexedDeployment { id: id.clone(), hosts });
    }

    pub(crate) fn end_list(&self) {
        let mut tables = self.write();
        tables.newer = HashSet::new();
        tables.is_listed = true;
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.read().is_listed
    }

    /// For another warm-up.
    pub(crate) fn forget(&self) {
        *self.write() = HostTables::default();
    }

    pub(crate) fn remove(&self, id: &DeploymentId) {
        let mut tables = self.write();
        tables.note_newer(id);
        if let Some(place) = tables.take_place(&self.key, id) {
            tables.clear(place);
            tables.deployments[place as usize] = None;
            tables.free.push(place);
        }
    }

    pub(crate) fn deployments(&self) -> Vec<DeploymentId> {
        self.read().deployments.iter().flatten().map(|place| place.id.clone()).collect()
    }

    /// Deployments and hosts.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let tables = self.read();
        (tables.places.len(), tables.hosts.len())
    }

    fn hashes(&self, hosts: &[HostName]) -> Hosts {
        match hosts {
            [host] => Hosts::One(self.hash(host)),
            hosts => Hosts::Others(hosts.iter().map(|host| self.hash(host)).collect()),
        }
    }

    fn hash(&self, host: &HostName) -> HostHash {
        HostHash::of(self.key.hash_one(host.as_str()))
    }

    // No panic while the lock is held.
    fn read(&self) -> RwLockReadGuard<'_, HostTables> {
        self.tables.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HostTables> {
        self.tables.write()
    }
}

impl HostTables {
    fn note_newer(&mut self, id: &DeploymentId) {
        if !self.is_listed && !self.newer.contains(id) {
            self.newer.insert(id.clone());
        }
    }

    fn place(&mut self, key: &RandomState, id: &DeploymentId) -> u32 {
        let Self { places, deployments, free, .. } = self;
        let has_id = |place: &u32| is_of(deployments, *place, id);
        if let Some(place) = places.find(key.hash_one(id), has_id) {
            return *place;
        }
        let place = free.pop().unwrap_or_else(|| {
            deployments.push(None);
            // 2^32 deployments do not fit into memory.
            (deployments.len() - 1) as u32
        });
        deployments[place as usize] =
            Some(IndexedDeployment { id: id.clone(), hosts: Hosts::Others(Box::default()) });
        places.insert_unique(key.hash_one(id), place, |place| match &deployments[*place as usize] {
            Some(place) => key.hash_one(&place.id),
            None => 0,
        });
        place
    }

    fn take_place(&mut self, key: &RandomState, id: &DeploymentId) -> Option<u32> {
        let Self { places, deployments, .. } = self;
        let found = places.find_entry(key.hash_one(id), |place| is_of(deployments, *place, id));
        found.ok().map(|entry| entry.remove().0)
    }

    fn place_of_host(&self, host: HostHash) -> Option<u32> {
        self.hosts.find(host.hash(), |row| row.host == host).map(|row| row.place)
    }

    fn row(&mut self, host: HostHash) -> Entry<'_, HostRow> {
        self.hosts.entry(host.hash(), |row| row.host == host, |row| row.host.hash())
    }

    /// Except hosts that moved elsewhere.
    fn clear(&mut self, place: u32) {
        let Some(old) = &mut self.deployments[place as usize] else { return };
        let hosts = std::mem::replace(&mut old.hosts, Hosts::Others(Box::default()));
        for host in hosts.as_slice() {
            let leads_here = |row: &HostRow| row.host == *host && row.place == place;
            if let Ok(row) = self.hosts.find_entry(host.hash(), leads_here) {
                row.remove();
            }
        }
    }
}

/// Every place in `places` is in use.
fn is_of(deployments: &[Option<IndexedDeployment>], place: u32, id: &DeploymentId) -> bool {
    deployments[place as usize].as_ref().is_some_and(|place| place.id == *id)
}

impl Hosts {
    fn as_slice(&self) -> &[HostHash] {
        match self {
            Self::One(host) => std::slice::from_ref(host),
            Self::Others(hosts) => hosts,
        }
    }
}

impl HostHash {
    fn of(hash: u64) -> Self {
        Self([(hash >> 32) as u32, hash as u32])
    }

    fn hash(self) -> u64 {
        let [high, low] = self.0;
        u64::from(high) << 32 | u64::from(low)
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
        // The page has x with a; a was removed since, x is b's.
        let index = HostIndex::default();
        index.remove(&id("a"));
        index.set(&id("b"), std::slice::from_ref(&x));
        index.list(&id("a"), std::slice::from_ref(&x));
        assert_eq!(index.find(&x), Some(id("b")));
        assert_eq!(index.deployments(), [id("b")]);

        // x moved from a to b; b's change came first.
        let index = HostIndex::default();
        index.set(&id("b"), std::slice::from_ref(&x));
        index.list(&id("a"), &[x.clone(), y.clone()]);
        assert_eq!(index.find(&x), Some(id("b")));
        index.set(&id("a"), std::slice::from_ref(&y));
        assert_eq!((index.find(&x), index.find(&y)), (Some(id("b")), Some(id("a"))));

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
    fn a_host_takes_twelve_bytes_and_a_deployment_thirty_two() {
        assert_eq!((size_of::<HostRow>(), size_of::<Option<IndexedDeployment>>()), (12, 32));
    }
}

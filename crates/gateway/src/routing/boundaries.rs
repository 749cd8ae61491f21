//! Project boundaries: allowed upstreams and reserved host suffixes, in memory, so that no
//! handshake or dial reads the store.

use std::{collections::HashMap, sync::Arc};

use certward_pki::HostName;
use certward_store::{Boundaries as Stored, ProjectId, Reader, Stamp, StoreError, UpstreamAllow};
use parking_lot::RwLock;

#[derive(Debug, Default)]
pub(crate) struct BoundaryIndex(RwLock<Arc<BoundaryTables>>);

#[derive(Debug, Default)]
struct BoundaryTables {
    /// `None`: not read yet.
    stamp: Option<Stamp>,
    upstream_allow: HashMap<ProjectId, Arc<UpstreamAllow>>,
    owners: HashMap<Box<str>, ProjectId>,
}

impl BoundaryIndex {
    pub(crate) async fn follow(&self, reader: &Reader) -> Result<(), StoreError> {
        let known = self.known().stamp;
        if let Some(stored) = reader.boundaries(known).await? {
            self.set(stored);
        }
        Ok(())
    }

    /// Applies to new connections and handshakes.
    fn set(&self, stored: Stored) {
        let allow = stored.upstream_allow.into_iter().map(|(project, allow)| (project, Arc::new(allow)));
        let owners =
            stored.host_suffixes.into_iter().map(|(suffix, project)| (suffix.as_str().into(), project));
        let known = BoundaryTables {
            stamp: Some(stored.stamp),
            upstream_allow: allow.collect(),
            owners: owners.collect(),
        };
        *self.0.write() = Arc::new(known);
    }

    /// `None`: no restriction by the project.
    pub(crate) fn upstream_allow(&self, project: &ProjectId) -> Option<Arc<UpstreamAllow>> {
        self.known().upstream_allow.get(project).cloned()
    }

    /// Suffixes of two projects never overlap, so the first match decides; at most 127 look-ups.
    pub(crate) fn belongs_to_another(&self, name: &HostName, project: &ProjectId) -> bool {
        let known = self.known();
        if known.owners.is_empty() {
            return false;
        }
        let names =
            std::iter::successors(Some(name.as_str()), |name| name.split_once('.').map(|(_, above)| above));
        names.filter_map(|name| known.owners.get(name)).next().is_some_and(|owner| owner != project)
    }

    pub(crate) fn len(&self) -> usize {
        let known = self.known();
        known.upstream_allow.len() + known.owners.len()
    }

    fn known(&self) -> Arc<BoundaryTables> {
        Arc::clone(&self.0.read())
    }
}

#[cfg(test)]
mod tests {
    use certward_store::HostSuffix;

    use super::*;

    #[test]
    fn a_name_is_anothers_where_it_or_a_name_above_it_is_a_suffix_of_that_one() {
        let project = |id: &str| ProjectId::parse(id).unwrap();
        let boundaries = BoundaryIndex::default();
        assert!(!boundaries.belongs_to_another(&HostName::parse("a.plant.example").unwrap(), &project("a")));
        let suffix = |text: &str, of: &str| (HostSuffix::parse(text).unwrap(), project(of));
        boundaries.set(Stored {
            host_suffixes: vec![suffix("plant.example", "b"), suffix("local", "a")],
            ..Stored::default()
        });
        for (name, of_a, of_b, of_c) in [
            ("plant.example", true, false, true),
            ("x.y.plant.example", true, false, true),
            ("xplant.example", false, false, false),
            ("example", false, false, false),
            ("broker.local", false, true, true),
            ("local", false, true, true),
        ] {
            let name = HostName::parse(name).unwrap();
            let found = ["a", "b", "c"].map(|of| boundaries.belongs_to_another(&name, &project(of)));
            assert_eq!(found, [of_a, of_b, of_c], "{name}");
        }
    }
}

//! The deployments, and what their clients make of them.

use certward_tests::{Seeded, ledger::Content};

/// Authorities of devices.
pub(crate) const CAS: usize = 3;

/// What its client makes of it.
#[derive(Clone, Copy)]
pub(crate) enum Habit {
    /// A new leaf for all.
    Renew,
    /// A new leaf and other client CAs.
    ChangeTrust,
    /// One-way or two-way.
    ChangeKind,
    /// Deleted, and set again.
    Delete,
}

pub(crate) struct Deployment {
    pub(crate) id: &'static str,
    pub(crate) hosts: [&'static str; 2],
    /// Server names of devices.
    pub(crate) names: [&'static str; 2],
    pub(crate) habit: Habit,
}

pub(crate) const DEPLOYMENTS: [Deployment; 4] = [
    Deployment {
        id: "renewed",
        hosts: ["renewed.localhost", "*.renewed.localhost"],
        names: ["renewed.localhost", "any.renewed.localhost"],
        habit: Habit::Renew,
    },
    Deployment {
        id: "two-way",
        hosts: ["two-way.localhost", "two.localhost"],
        names: ["two-way.localhost", "two.localhost"],
        habit: Habit::ChangeTrust,
    },
    Deployment {
        id: "either-way",
        hosts: ["either.localhost", "*.either.localhost"],
        names: ["either.localhost", "any.either.localhost"],
        habit: Habit::ChangeKind,
    },
    Deployment {
        id: "deleted",
        hosts: ["deleted.localhost", "gone.localhost"],
        names: ["deleted.localhost", "gone.localhost"],
        habit: Habit::Delete,
    },
];

impl Habit {
    pub(crate) fn next(self, random: &mut Seeded) -> Content {
        match (self, random.below(3)) {
            (Self::Renew, _) | (Self::ChangeKind | Self::Delete, 0) => Content::OneWay,
            (Self::Delete, 1) => Content::Absent,
            _ => Content::TwoWay(some_cas(random)),
        }
    }
}

/// One or two of three.
fn some_cas(random: &mut Seeded) -> Vec<usize> {
    let mut cas: Vec<usize> = (0..CAS).collect();
    random.shuffle(&mut cas);
    cas.truncate(1 + random.below(CAS - 1));
    cas
}

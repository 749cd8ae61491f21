//! Room that deployments share, so that one cannot silence the others.

use std::collections::{HashMap, hash_map::Entry};

/// One deployment takes this part of all at most.
const OWN_PART: usize = 10;
/// This part of all is for deployments that have few.
const KEPT_PART: usize = 5;
/// This part of all is few.
const FEW_PART: usize = 1_000;

/// How many entries of a table each deployment has. About 20 bytes for each that has any.
#[derive(Debug)]
pub(crate) struct FairRoom {
    max: usize,
    used: usize,
    by_deployment: HashMap<u64, u32>,
}

impl FairRoom {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, used: 0, by_deployment: HashMap::new() }
    }

    pub(crate) fn is_full_for(&self, deployment: u64) -> bool {
        let own = self.by_deployment.get(&deployment).map_or(0, |count| *count as usize);
        let has_few = own < self.max / FEW_PART;
        let shared = if has_few { self.max } else { self.max - self.max / KEPT_PART };
        own >= self.max / OWN_PART || self.used >= shared
    }

    /// A deployment's new entry, for which there is room.
    pub(crate) fn take(&mut self, deployment: u64) {
        *self.by_deployment.entry(deployment).or_default() += 1;
        self.used += 1;
    }

    /// A deployment's entry is gone.
    pub(crate) fn give_back(&mut self, deployment: u64) {
        let Entry::Occupied(mut count) = self.by_deployment.entry(deployment) else { return };
        self.used -= 1;
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }

    /// After many are gone.
    pub(crate) fn shrink(&mut self) {
        self.by_deployment.shrink_to(2 * self.by_deployment.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(room: &mut FairRoom, deployment: u64, wanted: usize) -> usize {
        let taken = (0..wanted).take_while(|_| {
            let has_room = !room.is_full_for(deployment);
            if has_room {
                room.take(deployment);
            }
            has_room
        });
        taken.count()
    }

    #[test]
    fn one_has_a_tenth_and_those_with_few_have_room_when_the_others_have_none() {
        let mut room = FairRoom::new(10_000);
        for deployment in 0..8 {
            assert_eq!(fill(&mut room, deployment, 2_000), 1_000, "{deployment}");
        }
        assert_eq!(fill(&mut room, 100, 2_000), 10, "what is few");
        for deployment in 200..399 {
            assert_eq!(fill(&mut room, deployment, 20), 10, "{deployment}");
        }
        assert_eq!(fill(&mut room, 400, 1), 0, "all is taken");
        room.give_back(0);
        assert_eq!((fill(&mut room, 0, 1), fill(&mut room, 400, 5)), (0, 1));
        for deployment in 1..8 {
            (0..1_000).for_each(|_| room.give_back(deployment));
        }
        assert_eq!(fill(&mut room, 100, 2_000), 990);
        room.give_back(999);
        room.shrink();
        assert_eq!(room.used, 10_000 - 7_000 + 990);
    }
}

//! What may be served after an announcement of the change feed.
//!
//! A value in memory: if read from the store after its newest announcement. A replica row: if it
//! has what was announced. Else the store is read, or the deployment refused. An announcement is
//! kept until read and in the replica. Values in memory are ordered by events of this process:
//! after a fail-over a generation may mean another change.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use certward_store::{DeploymentId, FeedEntry, Generation};
use parking_lot::{Mutex, MutexGuard};

use crate::sync::schedule::ROOM_AT_REST;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(u64);

#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    silent: AtomicBool,
}

#[derive(Debug, Default)]
struct GateState {
    now: Moment,
    /// Nothing read before is current.
    everything: Moment,
    known: HashMap<DeploymentId, Announced>,
    /// The replica's mark. `None`: no replica is read.
    copied: Option<Generation>,
}

/// Not carried out.
#[derive(Debug)]
struct Announced {
    /// Values in memory must be read later.
    announced: Moment,
    /// Replica rows must be read later.
    noted: Moment,
    /// The generation the replica must have; `None`: gone, no row is current.
    wanted: Option<Generation>,
    is_read: bool,
}

impl Gate {
    /// Must be called before the store is read.
    pub(crate) fn now(&self) -> Moment {
        self.state().now
    }

    pub(crate) fn announce(&self, rows: &[FeedEntry]) {
        let mut state = self.state();
        let now = state.tick();
        for row in rows {
            let wanted = match state.known.get(&row.deployment).map(|known| known.wanted) {
                // It may be ahead of the feed.
                Some(None) => None,
                Some(Some(ahead)) if ahead >= row.generation() => Some(ahead),
                Some(Some(_)) | None => Some(row.generation()),
            };
            let known = Announced { announced: now, noted: now, wanted, is_read: false };
            state.known.insert(row.deployment.clone(), known);
        }
    }

    /// Earlier generations no longer compare.
    pub(crate) fn announce_everything(&self) {
        let mut state = self.state();
        state.everything = state.tick();
        state.known = HashMap::new();
    }

    pub(crate) fn is_current(&self, id: &DeploymentId, read_at: Moment) -> bool {
        let state = self.state();
        let is_before = |known: &Announced| read_at < known.announced;
        read_at >= state.everything && !state.known.get(id).is_some_and(is_before)
    }

    pub(crate) fn covers(&self, id: &DeploymentId, row: Generation) -> bool {
        match self.state().known.get(id) {
            None => true,
            Some(known) => known.wanted.is_some_and(|wanted| row >= wanted),
        }
    }

    /// Records the generation read, `None` if gone. The store may be ahead of the feed and the
    /// replica.
    pub(crate) fn was_read(&self, id: &DeploymentId, read_at: Moment, found: Option<Generation>) {
        let mut state = self.state();
        if let Some(known) = state.known.get_mut(id) {
            known.is_read |= read_at >= known.announced;
        }
        let is_news = match (state.known.get(id).map(|known| known.wanted), found) {
            (Some(Some(wanted)), Some(found)) => found > wanted,
            (Some(wanted), found) => wanted != found,
            (None, Some(found)) => state.copied.is_some_and(|copied| found > copied),
            (None, None) => state.copied.is_some(),
        };
        if is_news {
            let noted = state.tick();
            let known = state.known.entry(id.clone()).or_insert(Announced {
                announced: read_at,
                noted,
                wanted: found,
                is_read: true,
            });
            (known.noted, known.wanted) = (noted, found);
        }
        state.forget_unless_copied(id);
    }

    /// The deployment is refused as unreadable.
    pub(crate) fn was_unreadable(&self, id: &DeploymentId, read_at: Moment) {
        let mut state = self.state();
        if let Some(known) = state.known.get_mut(id) {
            known.is_read |= read_at >= known.announced;
        }
        state.forget_unless_copied(id);
    }

    /// The replica has these as of this moment or later.
    pub(crate) fn copied<'a>(&self, ids: impl IntoIterator<Item = &'a DeploymentId>, read_at: Moment) {
        let mut state = self.state();
        for id in ids {
            let is_copied = |known: &Announced| known.is_read && known.noted <= read_at;
            if state.known.get(id).is_some_and(is_copied) {
                state.known.remove(id);
            }
        }
        state.shrink();
    }

    /// The replica is complete up to `mark`.
    pub(crate) fn copied_up_to(&self, mark: Generation) {
        let mut state = self.state();
        state.copied = Some(mark);
        let is_copied = |wanted: Option<Generation>| wanted.is_some_and(|wanted| wanted <= mark);
        state.known.retain(|_, known| !(known.is_read && is_copied(known.wanted)));
        state.shrink();
    }

    /// A replica under construction may lack later reads.
    pub(crate) fn may_be_uncopied(&self) {
        self.state().copied.get_or_insert(Generation(-1));
    }

    pub(crate) fn without_replica(&self) {
        let mut state = self.state();
        state.copied = None;
        state.known.retain(|_, known| !known.is_read);
        state.shrink();
    }

    /// Gone in the store, perhaps not in the replica.
    pub(crate) fn gone(&self) -> Vec<DeploymentId> {
        let state = self.state();
        let gone = state.known.iter().filter(|(_, known)| known.wanted.is_none() && known.is_read);
        gone.map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.silent.store(is_silent, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> usize {
        self.state().known.len()
    }

    // No panic while the lock is held.
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock()
    }
}

impl GateState {
    fn tick(&mut self) -> Moment {
        self.now.0 += 1;
        self.now
    }

    /// Without a replica, being read is enough.
    fn forget_unless_copied(&mut self, id: &DeploymentId) {
        let Self { known, copied, .. } = self;
        let has = |wanted: Option<Generation>| match (wanted, *copied) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(wanted), Some(copied)) => wanted <= copied,
        };
        if known.get(id).is_some_and(|known| known.is_read && has(known.wanted)) {
            known.remove(id);
        }
    }

    fn shrink(&mut self) {
        if self.known.is_empty() {
            self.known.shrink_to(ROOM_AT_REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use certward_store::FeedPosition;

    use super::*;

    fn id(text: &str) -> DeploymentId {
        DeploymentId::parse(text).unwrap()
    }

    fn row(name: &str, generation: i64) -> FeedEntry {
        let position = FeedPosition { generation: Generation(generation), nonce: 7 };
        FeedEntry { position, deployment: id(name) }
    }

    fn at(generation: i64) -> Generation {
        Generation(generation)
    }

    /// With a replica complete up to generation 5.
    fn gate() -> Gate {
        let gate = Gate::default();
        gate.copied_up_to(Generation(5));
        gate
    }

    #[test]
    fn what_was_read_before_an_announcement_is_not_served_and_all_else_is() {
        let gate = gate();
        let before = gate.now();
        gate.announce(&[row("d", 6)]);
        assert!(!gate.is_current(&id("d"), before));
        assert!(!gate.covers(&id("d"), at(5)));
        assert!(gate.is_current(&id("other"), before) && gate.covers(&id("other"), at(1)));
        // Current at once if the replica was ahead of the feed, or after a read.
        assert!(gate.covers(&id("d"), at(6)) && gate.covers(&id("d"), at(7)));
        assert!(gate.is_current(&id("d"), gate.now()));
    }

    #[test]
    fn a_read_that_began_before_an_announcement_does_not_answer_it() {
        let gate = gate();
        gate.announce(&[row("d", 6)]);
        let began = gate.now();
        gate.announce(&[row("d", 7)]);
        gate.was_read(&id("d"), began, Some(at(6)));
        gate.copied([&id("d")], began);
        assert!(!gate.is_current(&id("d"), began) && !gate.covers(&id("d"), at(6)));
        let began = gate.now();
        gate.was_read(&id("d"), began, Some(at(7)));
        assert!(gate.is_current(&id("d"), began));
        gate.copied([&id("d")], gate.now());
        assert_eq!(gate.len(), 0);
    }

    #[test]
    fn an_announcement_is_kept_until_it_is_both_read_and_copied() {
        type Step = fn(&Gate);
        let read: Step = |gate| gate.was_read(&id("d"), gate.now(), Some(at(6)));
        let unreadable: Step = |gate| gate.was_unreadable(&id("d"), gate.now());
        let copied: Step = |gate| gate.copied([&id("d")], gate.now());
        let copied_up_to: Step = |gate| gate.copied_up_to(Generation(6));
        let no_replica: Step = Gate::without_replica;
        for (steps, kept) in [
            (&[read][..], 1),
            (&[copied], 1),
            (&[read, copied], 0),
            (&[unreadable, copied], 0),
            (&[read, copied_up_to], 0),
            (&[copied_up_to, copied], 1),
            (&[no_replica], 1),
            (&[read, no_replica], 0),
            (&[no_replica, read], 0),
            (&[no_replica, unreadable], 0),
            (&[copied_up_to, read], 0),
        ] {
            let gate = gate();
            gate.announce(&[row("d", 6)]);
            steps.iter().for_each(|step| step(&gate));
            assert_eq!(gate.len(), kept);
        }
    }

    #[test]
    fn what_the_store_said_ahead_of_the_feed_is_never_undone_by_the_replica() {
        let gate = gate();
        let (early, began) = (gate.now(), gate.now());
        gate.was_read(&id("changed"), began, Some(at(7)));
        gate.was_read(&id("gone"), began, None);
        gate.was_read(&id("as-copied"), began, Some(at(5)));
        assert!(!gate.covers(&id("changed"), at(5)) && gate.covers(&id("changed"), at(7)));
        assert!(!gate.covers(&id("gone"), at(9)));
        assert!(gate.covers(&id("as-copied"), at(5)));
        assert!(gate.is_current(&id("changed"), began), "what was read is served");
        // Older feed rows and older replica reads change nothing either.
        gate.announce(&[row("changed", 6), row("gone", 6)]);
        assert!(!gate.covers(&id("changed"), at(6)) && !gate.covers(&id("gone"), at(6)));
        gate.was_read(&id("changed"), gate.now(), Some(at(7)));
        gate.was_read(&id("gone"), gate.now(), None);
        gate.copied([&id("changed"), &id("gone")], early);
        assert_eq!((gate.len(), gate.gone()), (2, vec![id("gone")]));
        gate.copied([&id("changed"), &id("gone")], gate.now());
        assert_eq!(gate.len(), 0);
    }

    #[test]
    fn where_the_feed_cannot_tell_nothing_of_before_is_current() {
        let gate = gate();
        gate.announce(&[row("d", 6)]);
        let before = gate.now();
        gate.announce_everything();
        assert!(!gate.is_current(&id("d"), before) && !gate.is_current(&id("other"), before));
        assert!(gate.is_current(&id("other"), gate.now()));
        assert_eq!(gate.len(), 0, "generations of another history mean nothing");
    }

    #[test]
    fn while_a_replica_is_made_nothing_is_forgotten_that_it_may_lack() {
        let gate = Gate::default();
        gate.was_read(&id("early"), gate.now(), Some(at(3)));
        assert_eq!(gate.len(), 0, "there is no replica");
        gate.may_be_uncopied();
        gate.was_read(&id("late"), gate.now(), Some(at(8)));
        gate.copied_up_to(Generation(7));
        assert!(!gate.covers(&id("late"), at(6)));
        gate.copied_up_to(Generation(8));
        assert!(gate.covers(&id("late"), at(8)) && gate.len() == 0);
    }
}

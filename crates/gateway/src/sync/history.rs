//! Which history of the store this node has read.
//!
//! A fail-over or a restored backup loses changes and issues their generations again. So each
//! answer carries its newest feed row, and whether the store has this node's. On another history
//! the node leaves, drops everything and reads again.

use std::collections::BTreeMap;

use certward_store::{FeedPosition, Generation};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Some seconds of writes; 32 bytes each.
const RECENT_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct History {
    state: Mutex<HistoryState>,
    lost: Notify,
}

#[derive(Debug, Default)]
struct HistoryState {
    held: FeedPosition,
    /// Nonces by generation.
    recent: BTreeMap<i64, i64>,
    is_lost: bool,
    epoch: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) position: FeedPosition,
    epoch: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryVerdict {
    Use,
    /// A newer row was read in between.
    ReadAgain,
    Lost,
}

impl History {
    /// Must be called before a read, and passed back with its answer.
    pub(crate) fn held(&self) -> Held {
        let state = self.state();
        Held { position: state.held, epoch: state.epoch }
    }

    /// `continues`: whether the store has `held`.
    pub(crate) fn judge(&self, held: Held, as_of: FeedPosition, continues: bool) -> HistoryVerdict {
        let mut state = self.state();
        if held.epoch != state.epoch || state.is_lost {
            return HistoryVerdict::ReadAgain;
        }
        let verdict = if !continues {
            HistoryVerdict::Lost
        } else if held.position == state.held {
            HistoryVerdict::Use
        } else {
            match state.recent.get(&as_of.generation.0) {
                Some(nonce) if *nonce == as_of.nonce => HistoryVerdict::Use,
                Some(_) => HistoryVerdict::Lost,
                None => HistoryVerdict::ReadAgain,
            }
        };
        match verdict {
            HistoryVerdict::Use => state.note(as_of),
            HistoryVerdict::Lost => self.lose(&mut state),
            HistoryVerdict::ReadAgain => {}
        }
        verdict
    }

    /// The next feed read checks them.
    pub(crate) fn read(&self, rows: impl Iterator<Item = FeedPosition>) {
        let mut state = self.state();
        for row in rows {
            match state.recent.get(&row.generation.0) {
                Some(nonce) if *nonce != row.nonce => self.lose(&mut state),
                _ => state.note(row),
            }
        }
    }

    pub(crate) fn is_other(&self) {
        self.lose(&mut self.state());
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state().is_lost
    }

    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Reads in progress are void.
    pub(crate) fn start_over(&self) {
        let mut state = self.state();
        *state = HistoryState { epoch: state.epoch + 1, ..HistoryState::default() };
    }

    fn lose(&self, state: &mut HistoryState) {
        if !state.is_lost {
            tracing::warn!(
                "the database has another history than this node's: changes were lost by a fail-over, or a backup \
                 came back; this node drops what it holds and reads everything again"
            );
        }
        state.is_lost = true;
        self.lost.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, HistoryState> {
        self.state.lock()
    }
}

impl HistoryState {
    fn note(&mut self, position: FeedPosition) {
        if position.generation == Generation(0) {
            return;
        }
        self.held = self.held.later(position);
        self.recent.insert(position.generation.0, position.nonce);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(generation: i64, nonce: i64) -> FeedPosition {
        FeedPosition { generation: Generation(generation), nonce }
    }

    #[test]
    fn an_answer_of_another_history_is_never_used() {
        let history = History::default();
        let held = history.held();
        assert_eq!(
            history.judge(held, row(5, 50), true),
            HistoryVerdict::Use,
            "the first answer is believed"
        );
        assert_eq!(history.held().position, row(5, 50));
        // This read began earlier, and ended at an unknown row.
        assert_eq!(history.judge(held, row(4, 40), true), HistoryVerdict::ReadAgain);
        assert_eq!(history.judge(held, row(7, 70), true), HistoryVerdict::ReadAgain);
        // The feed has named the row since.
        history.read([row(6, 60), row(7, 70)].into_iter());
        assert_eq!(history.judge(held, row(6, 60), true), HistoryVerdict::Use);
        assert_eq!(history.judge(held, row(6, 61), true), HistoryVerdict::Lost);
        assert!(history.is_lost());
        assert_eq!(
            history.judge(history.held(), row(8, 80), true),
            HistoryVerdict::ReadAgain,
            "until it starts over"
        );
    }

    #[test]
    fn what_began_before_everything_was_dropped_does_not_count() {
        let history = History::default();
        let held = history.held();
        assert_eq!(history.judge(held, row(5, 50), false), HistoryVerdict::Lost);
        history.start_over();
        assert!(!history.is_lost());
        assert_eq!(history.judge(held, row(5, 50), true), HistoryVerdict::ReadAgain);
        assert_eq!(history.judge(history.held(), row(3, 31), true), HistoryVerdict::Use);
        assert_eq!(history.held().position, row(3, 31));
    }

    #[test]
    fn a_feed_that_contradicts_what_was_loaded_is_of_another_history() {
        let history = History::default();
        assert_eq!(history.judge(history.held(), row(5, 50), true), HistoryVerdict::Use);
        history.read([row(5, 50)].into_iter());
        assert!(!history.is_lost());
        history.read([row(5, 51)].into_iter());
        assert!(history.is_lost());
    }
}

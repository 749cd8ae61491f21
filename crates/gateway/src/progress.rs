use std::collections::HashMap;

use certward_store::{DeploymentId, Generation};
use tokio::sync::watch;

use crate::schedule::ROOM_AT_REST;

/// How far this node has carried the change feed out: not only read, but swapped and told to its connections.
#[derive(Debug)]
pub(crate) struct Progress(watch::Sender<State>);

#[derive(Debug)]
struct State {
    /// The feed is read up to here.
    read: Generation,
    /// What of it is not carried out yet, and how often it was wanted.
    to_do: HashMap<DeploymentId, u64>,
}

impl Progress {
    /// Nothing is read yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State { read: Generation(-1), to_do: HashMap::new() }))
    }

    /// Everything up to `read` is as it should be, but for these.
    pub(crate) fn begin<'a>(&self, read: Generation, to_do: impl Iterator<Item = &'a DeploymentId>) {
        self.is_to_do(to_do, read);
    }

    /// These changed, and the feed is read up to `read`.
    pub(crate) fn is_to_do<'a>(&self, ids: impl Iterator<Item = &'a DeploymentId>, read: Generation) {
        self.0.send_modify(|state| {
            for id in ids {
                *state.to_do.entry(id.clone()).or_default() += 1;
            }
            state.read = state.read.max(read);
        });
    }

    /// To be asked before a change is carried out, for [`Progress::is_done`].
    pub(crate) fn times_wanted(&self, id: &DeploymentId) -> Option<u64> {
        self.0.borrow().to_do.get(id).copied()
    }

    /// It is carried out, as far as it was wanted when that began.
    pub(crate) fn is_done(&self, id: &DeploymentId, wanted: Option<u64>) {
        self.0.send_if_modified(|state| {
            let done = wanted.is_some() && state.to_do.get(id).copied() == wanted;
            let was_to_do = done && state.to_do.remove(id).is_some();
            if state.to_do.is_empty() {
                state.to_do.shrink_to(ROOM_AT_REST);
            }
            was_to_do
        });
    }

    /// How many deployments have changes that are not carried out yet.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().to_do.len()
    }

    /// Waits until everything up to `generation` is carried out, and says up to where it is.
    pub(crate) async fn caught_up(&self, generation: Generation) -> Generation {
        let mut states = self.0.subscribe();
        let caught_up = states.wait_for(|state| state.read >= generation && state.to_do.is_empty()).await;
        // The sender is this value's own.
        caught_up.map_or(Generation(-1), |state| state.read)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_caught_up(progress: &Progress, generation: i64) -> bool {
        tokio::time::timeout(Duration::ZERO, progress.caught_up(Generation(generation))).await.is_ok()
    }

    #[tokio::test]
    async fn a_change_is_carried_out_only_when_nothing_came_while_it_was() {
        let (progress, id) = (Progress::new(), DeploymentId::parse("a").unwrap());
        progress.begin(Generation(3), [].into_iter());
        assert!(is_caught_up(&progress, 3).await);
        assert!(!is_caught_up(&progress, 4).await, "not read so far");
        progress.is_to_do([&id].into_iter(), Generation(4));
        assert!(!is_caught_up(&progress, 3).await, "read and not done");
        let wanted = progress.times_wanted(&id);
        progress.is_to_do([&id].into_iter(), Generation(5));
        progress.is_done(&id, wanted);
        assert!(!is_caught_up(&progress, 4).await, "it changed again meanwhile");
        progress.is_done(&id, progress.times_wanted(&id));
        assert!(is_caught_up(&progress, 5).await);
    }
}

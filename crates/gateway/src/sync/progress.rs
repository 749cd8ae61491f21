use std::collections::{HashMap, HashSet};

use certward_store::{DeploymentId, FeedPosition, Generation};
use tokio::sync::watch;

use crate::sync::schedule::ROOM_AT_REST;

/// How far changes are carried out: swapped, and applied to live connections.
#[derive(Debug)]
pub(crate) struct FeedProgress(watch::Sender<ProgressState>);

#[derive(Debug)]
struct ProgressState {
    read: Option<FeedPosition>,
    /// Pending deployments, and how often each was requested.
    to_do: HashMap<DeploymentId, u64>,
    /// New handshakes are refused, but live sessions do not follow what cannot be read.
    unreadable: HashSet<DeploymentId>,
}

impl ProgressState {
    fn unread() -> Self {
        Self { read: None, to_do: HashMap::new(), unreadable: HashSet::new() }
    }
}

impl FeedProgress {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(ProgressState::unread()))
    }

    /// Only `to_do` is pending up to `read`; after a start or a change of history.
    pub(crate) fn begin<'a>(&self, read: FeedPosition, to_do: impl Iterator<Item = &'a DeploymentId>) {
        self.0.send_modify(|state| {
            state.add(to_do);
            state.read = Some(read);
        });
    }

    /// More may follow: the feed counts as unread.
    pub(crate) fn begin_over<'a>(&self, to_do: impl Iterator<Item = &'a DeploymentId>) {
        self.0.send_modify(|state| {
            state.add(to_do);
            state.read = None;
        });
    }

    pub(crate) fn is_to_do<'a>(&self, ids: impl Iterator<Item = &'a DeploymentId>, read: FeedPosition) {
        self.begin(read, ids);
    }

    /// The feed counts as unread.
    pub(crate) fn forget(&self) {
        self.begin_over([].into_iter());
    }

    /// The next start finds it again.
    pub(crate) fn reset(&self) {
        self.0.send_replace(ProgressState::unread());
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.0.borrow().read.is_none()
    }

    /// Must be called before a change is carried out.
    pub(crate) fn times_wanted(&self, id: &DeploymentId) -> Option<u64> {
        self.0.borrow().to_do.get(id).copied()
    }

    /// Done, unless requested again since.
    pub(crate) fn is_done(&self, id: &DeploymentId, wanted: Option<u64>) {
        self.end(id, wanted, |state| state.unreadable.remove(id));
    }

    /// Done as far as it can be: the deployment is refused.
    pub(crate) fn is_unreadable(&self, id: &DeploymentId, wanted: Option<u64>) {
        self.end(id, wanted, |state| state.unreadable.insert(id.clone()));
    }

    fn end(&self, id: &DeploymentId, wanted: Option<u64>, mark: impl FnOnce(&mut ProgressState) -> bool) {
        self.0.send_if_modified(|state| {
            let is_news = mark(state);
            let done = wanted.is_some() && state.to_do.get(id).copied() == wanted;
            let was_to_do = done && state.to_do.remove(id).is_some();
            if state.to_do.is_empty() {
                state.to_do.shrink_to(ROOM_AT_REST);
            }
            was_to_do || is_news
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().to_do.len()
    }

    /// Waits until exactly this row is carried out.
    pub(crate) async fn caught_up(&self, row: FeedPosition) {
        self.wait_for(|state| state.read == Some(row) && state.to_do.is_empty()).await;
    }

    /// Waits until this row or a later one is carried out.
    pub(crate) async fn was_caught_up(&self, row: FeedPosition) {
        self.wait_for(|state| {
            state.read.is_some_and(|read| read.generation >= row.generation) && state.to_do.is_empty()
        })
        .await;
    }

    /// Waits until the deployment's change of this generation is carried out.
    pub(crate) async fn carried_out(&self, id: &DeploymentId, change: Generation) {
        self.wait_for(|state| {
            state.read.is_some_and(|read| read.generation >= change)
                && !state.to_do.contains_key(id)
                && !state.unreadable.contains(id)
        })
        .await;
    }

    /// Waits until at most `missing_max` rows and deployments are pending.
    pub(crate) async fn is_near(&self, newest: FeedPosition, missing_max: usize) {
        self.wait_for(|state| {
            let missing = state.read.map(|read| newest.generation.0.saturating_sub(read.generation.0));
            missing.is_some_and(|rows| rows <= missing_max as i64) && state.to_do.len() <= missing_max
        })
        .await;
    }

    async fn wait_for(&self, condition: impl FnMut(&ProgressState) -> bool) {
        let mut states = self.0.subscribe();
        // The sender is this value's own.
        let _ = states.wait_for(condition).await;
    }
}

impl ProgressState {
    fn add<'a>(&mut self, ids: impl Iterator<Item = &'a DeploymentId>) {
        for id in ids {
            *self.to_do.entry(id.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn row(generation: i64) -> FeedPosition {
        FeedPosition { generation: Generation(generation), nonce: 7 }
    }

    async fn is_caught_up(progress: &FeedProgress, row: FeedPosition) -> bool {
        timeout(Duration::ZERO, progress.caught_up(row)).await.is_ok()
    }

    #[tokio::test]
    async fn a_change_is_carried_out_only_when_nothing_came_while_it_was() {
        let (progress, id) = (FeedProgress::new(), DeploymentId::parse("a").unwrap());
        progress.begin(row(3), [].into_iter());
        assert!(is_caught_up(&progress, row(3)).await);
        assert!(!is_caught_up(&progress, row(4)).await, "not read so far");
        progress.is_to_do([&id].into_iter(), row(4));
        assert!(!is_caught_up(&progress, row(4)).await, "read and not done");
        let wanted = progress.times_wanted(&id);
        progress.is_to_do([&id].into_iter(), row(5));
        progress.is_done(&id, wanted);
        assert!(!is_caught_up(&progress, row(5)).await, "it changed again since");
        progress.is_done(&id, progress.times_wanted(&id));
        assert!(is_caught_up(&progress, row(5)).await);
        assert!(
            !is_caught_up(&progress, FeedPosition { nonce: 8, ..row(5) }).await,
            "a row of another history"
        );
        progress.begin_over([].into_iter());
        assert!(!is_caught_up(&progress, row(5)).await, "nothing is known any more");
    }

    #[tokio::test]
    async fn a_node_is_near_when_few_rows_and_few_deployments_are_missing() {
        let id = DeploymentId::parse("a").unwrap();
        let cases = [
            (None, 0, false),
            (Some(7), 0, false),
            (Some(8), 0, true),
            (Some(9), 1, false),
            (Some(10), 0, true),
        ];
        for (read, to_do, expected) in cases {
            let progress = FeedProgress::new();
            let ids = std::iter::repeat_n(&id, to_do);
            match read {
                Some(read) => progress.begin(row(read), ids),
                None => progress.begin_over(ids),
            }
            let limit = if to_do > 0 { 0 } else { 2 };
            let near = timeout(Duration::ZERO, progress.is_near(row(10), limit)).await.is_ok();
            assert_eq!(near, expected, "read up to {read:?}, {to_do} to do");
        }
    }

    #[tokio::test]
    async fn a_change_of_a_deployment_is_carried_out_whatever_others_wait_for() {
        let [id, other] = ["a", "b"].map(|id| DeploymentId::parse(id).unwrap());
        let progress = FeedProgress::new();
        let has = async |change| {
            timeout(Duration::ZERO, progress.carried_out(&id, Generation(change))).await.is_ok()
        };
        assert!(!has(1).await, "the feed is not read");
        progress.begin(row(3), [&other].into_iter());
        assert_eq!((has(3).await, has(4).await), (true, false));
        progress.is_to_do([&id].into_iter(), row(4));
        assert!(!has(3).await && !has(4).await);
        progress.is_unreadable(&id, progress.times_wanted(&id));
        assert!(!has(4).await, "live sessions follow nothing");
        // A later attempt, of itself.
        progress.is_done(&id, progress.times_wanted(&id));
        assert!(has(4).await);
        progress.forget();
        assert!(!has(4).await, "another history");
    }
}

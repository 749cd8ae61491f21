//! Whether this node counts, and in which session of its membership it speaks.
//!
//! The rule: while the node's row is in the store, everything that this node can serve of a settled
//! deployment is current, or refused. So it joins only when it has carried out everything that has
//! changed, while nothing can change; it reports only while it counts; and before it serves a version
//! other than the newest, it says so (a *withdrawal*).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certward_lifecycle::{Entropy, Lifecycle, Member, Observation, Withdrawal};
use certward_store::{FeedPosition, NodeId, Session, StoreError};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::timeout,
};

/// How long all changes wait for a node that joins.
const HELD_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Membership {
    lifecycle: Lifecycle,
    node: NodeId,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// Registration, joins and withdrawals come one after the other.
    changing: AsyncMutex<()>,
    joined: Notify,
}

#[derive(Debug)]
struct State {
    session: Session,
    counts: bool,
    is_joining: bool,
    /// Grows with each try to join.
    epoch: Epoch,
}

/// From one try to join to the next: what a withdrawal allowed in it is to be asked for again after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// Who knows what this node has carried out.
pub(crate) trait CarriesOut: Sync {
    /// Waits until everything up to `newest`, this very row, is carried out and kept in the replica. `false`: this node
    /// holds something that the store's history does not have, or not yet.
    fn has_carried_out(&self, newest: FeedPosition) -> impl Future<Output = bool> + Send;
}

impl Membership {
    pub(crate) fn new(lifecycle: Lifecycle, node: NodeId, entropy: Arc<dyn Entropy>) -> Self {
        let state = State { session: Session(0), counts: false, is_joining: false, epoch: Epoch(0) };
        Self {
            lifecycle,
            node,
            entropy,
            state: Mutex::new(state),
            changing: AsyncMutex::default(),
            joined: Notify::new(),
        }
    }

    /// This process is the node's from now on: an earlier one's reports and renewals are void.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn register(&self) -> Result<(), StoreError> {
        let _one = self.changing.lock().await;
        let session = self.fresh();
        self.state().session = session;
        self.lifecycle.register(&self.node, session).await
    }

    /// As who this node reports. `None`: it does not count, and has nothing to report.
    pub(crate) fn member(&self) -> Option<Member> {
        let state = self.state();
        state.counts.then(|| Member { id: self.node.clone(), session: state.session })
    }

    /// See [`Epoch`].
    pub(crate) fn epoch(&self) -> Epoch {
        self.state().epoch
    }

    /// Resolves when the node counts again, or in another session: what it has said meanwhile may not have been heard.
    pub(crate) async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Joins, if this node has carried out everything by the time that nothing changes any more.
    pub(crate) async fn join(&self, work: &impl CarriesOut) -> Result<bool, StoreError> {
        let session = self.fresh();
        {
            // Before it counts: what was allowed to a node that did not is not allowed any more.
            let mut state = self.state();
            (state.counts, state.is_joining) = (false, true);
            state.epoch.0 += 1;
        }
        let joined = {
            let _one = self.changing.lock().await;
            let is_carried_out =
                async |newest| matches!(timeout(HELD_MAX, work.has_carried_out(newest)).await, Ok(true));
            self.lifecycle.join(&self.node, session, is_carried_out).await
        };
        let mut state = self.state();
        state.is_joining = false;
        if matches!(joined, Ok(true)) {
            (state.counts, state.session) = (true, session);
            self.joined.notify_one();
        }
        joined
    }

    /// Asks to serve another version than the newest of a deployment, which `reason` keeps from being served. `None`: it must not.
    ///
    /// # Errors
    /// [`StoreError`]: it must not, either.
    pub(crate) async fn withdraw(
        self: &Arc<Self>,
        observation: &Observation<'_>,
        reason: &str,
    ) -> Result<Option<Epoch>, StoreError> {
        let (this, id, reason) = (Arc::clone(self), observation.id.clone(), reason.to_owned());
        let (generation, as_of) = (observation.generation, observation.as_of);
        // To its end, also when the device that asked has gone: the session in the row must be known here.
        let withdrawal = tokio::spawn(async move {
            let observation = Observation { id: &id, generation, as_of };
            this.withdraw_now(&observation, &reason).await
        });
        withdrawal.await.unwrap_or(Ok(None))
    }

    async fn withdraw_now(
        &self,
        observation: &Observation<'_>,
        reason: &str,
    ) -> Result<Option<Epoch>, StoreError> {
        // A node that joins waits for what is loaded here, which must not wait for it.
        if self.state().is_joining {
            return Ok(None);
        }
        let _one = self.changing.lock().await;
        let (member, epoch) = {
            let state = self.state();
            // It waits for the lock: what would be allowed now is not allowed in the epoch that it has begun.
            if state.is_joining {
                return Ok(None);
            }
            (Member { id: self.node.clone(), session: state.session }, state.epoch)
        };
        let fresh = self.fresh();
        match self.lifecycle.withdraw(&member, fresh, observation, reason).await? {
            Withdrawal::Done => {
                self.state().session = fresh;
                // ReportGate of the session before that were under way are void, and asked for again.
                self.joined.notify_one();
                Ok(Some(epoch))
            }
            Withdrawal::NotCounted => Ok(Some(epoch)),
            Withdrawal::Outdated | Withdrawal::AnotherSession => Ok(None),
        }
    }

    /// The node counts no longer, unless its row is another process's by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        let session = {
            let mut state = self.state();
            state.counts = false;
            state.session
        };
        self.lifecycle.leave(&self.node, session).await
    }

    /// `false`: this node counts no longer.
    pub(crate) async fn renew(&self) -> Result<bool, StoreError> {
        let Some(member) = self.member() else { return Ok(false) };
        if self.lifecycle.renew(&member.id, member.session).await? {
            return Ok(true);
        }
        let mut state = self.state();
        // A withdrawal may have drawn another session meanwhile.
        if state.session != member.session {
            return Ok(state.counts);
        }
        state.counts = false;
        Ok(false)
    }

    fn fresh(&self) -> Session {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        Session(i64::from_ne_bytes(bytes))
    }

    // Nothing that holds it can panic half-way through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

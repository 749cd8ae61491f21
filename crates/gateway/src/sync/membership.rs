//! Whether this node is counted, and its current session.
//!
//! The rule: while the node's row exists, the node serves each settled deployment's newest version
//! or refuses it. So it joins only after carrying out every change, while changes are held; reports
//! only while counted; and asks (a *withdrawal*) before serving an older version.

use std::{sync::Arc, time::Duration};

use certward_lifecycle::{Entropy, Lifecycle, Member, Observation, Withdrawal};
use certward_store::{FeedPosition, NodeId, Session, StoreError};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::timeout,
};

/// All changes wait for a join.
const CHANGES_HELD_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Membership {
    lifecycle: Lifecycle,
    node: NodeId,
    entropy: Arc<dyn Entropy>,
    state: Mutex<MembershipState>,
    changing: AsyncMutex<()>,
    joined: Notify,
}

#[derive(Debug)]
struct MembershipState {
    session: Session,
    is_registered: bool,
    counts: bool,
    is_joining: bool,
    epoch: Epoch,
}

/// Grows with each try to join; permissions do not outlast it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

pub(crate) trait CarriesOut: Sync {
    /// Waits until exactly this row is carried out and in the replica. `false`: histories differ.
    fn has_carried_out(&self, newest: FeedPosition) -> impl Future<Output = bool> + Send;
}

impl Membership {
    pub(crate) fn new(lifecycle: Lifecycle, node: NodeId, entropy: Arc<dyn Entropy>) -> Self {
        let state = MembershipState {
            session: Session(0),
            is_registered: false,
            counts: false,
            is_joining: false,
            epoch: Epoch(0),
        };
        Self {
            lifecycle,
            node,
            entropy,
            state: Mutex::new(state),
            changing: AsyncMutex::default(),
            joined: Notify::new(),
        }
    }

    /// Voids reports and renewals of an earlier process.
    pub(crate) async fn register(&self) -> Result<(), StoreError> {
        let _one = self.changing.lock().await;
        let session = self.fresh();
        self.state().session = session;
        self.lifecycle.register(&self.node, session).await?;
        self.state().is_registered = true;
        Ok(())
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.state().is_registered
    }

    /// The identity for reports. `None`: not counted.
    pub(crate) fn member(&self) -> Option<Member> {
        let state = self.state();
        state.counts.then(|| Member { id: self.node.clone(), session: state.session })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.state().epoch
    }

    /// Resolves on a new session: reports may have been lost.
    pub(crate) async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Joins if all is carried out while changes are held.
    pub(crate) async fn join(&self, work: &impl CarriesOut) -> Result<bool, StoreError> {
        let session = self.fresh();
        {
            // First: permissions given to a node that is not counted must end.
            let mut state = self.state();
            (state.counts, state.is_joining) = (false, true);
            state.epoch.0 += 1;
        }
        let joined = {
            let _one = self.changing.lock().await;
            let is_carried_out = async |newest| {
                matches!(timeout(CHANGES_HELD_MAX, work.has_carried_out(newest)).await, Ok(true))
            };
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

    /// Asks to serve the previous version. `None` or an error: it must not.
    pub(crate) async fn withdraw(
        self: &Arc<Self>,
        observation: &Observation<'_>,
        reason: &str,
    ) -> Result<Option<Epoch>, StoreError> {
        let (this, id, reason) = (Arc::clone(self), observation.id.clone(), reason.to_owned());
        let (generation, as_of) = (observation.generation, observation.as_of);
        // Runs on if the device disconnects: the row's session must be known here.
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
        // A join waits for loads, so a load must not wait for a join.
        if self.state().is_joining {
            return Ok(None);
        }
        let _one = self.changing.lock().await;
        let (member, epoch) = {
            let state = self.state();
            // A join is waiting for this lock; permission would be for its epoch.
            if state.is_joining {
                return Ok(None);
            }
            (Member { id: self.node.clone(), session: state.session }, state.epoch)
        };
        let fresh = self.fresh();
        match self.lifecycle.withdraw(&member, fresh, observation, reason).await? {
            Withdrawal::Done => {
                self.state().session = fresh;
                // Pending reports of the previous session are void.
                self.joined.notify_one();
                Ok(Some(epoch))
            }
            Withdrawal::NotCounted => Ok(Some(epoch)),
            Withdrawal::Outdated | Withdrawal::AnotherSession => Ok(None),
        }
    }

    /// Unless another process has the node.
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        let session = {
            let mut state = self.state();
            state.counts = false;
            state.session
        };
        self.lifecycle.leave(&self.node, session).await
    }

    /// `false`: not counted any more.
    pub(crate) async fn renew(&self) -> Result<bool, StoreError> {
        let Some(member) = self.member() else { return Ok(false) };
        if self.lifecycle.renew(&member.id, member.session).await? {
            return Ok(true);
        }
        let mut state = self.state();
        // A withdrawal may have changed the session.
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

    fn state(&self) -> MutexGuard<'_, MembershipState> {
        self.state.lock()
    }
}

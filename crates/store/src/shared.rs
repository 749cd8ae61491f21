use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    Address, Clock, MasterKeyRing, StoreError,
    engine::pool::Engine,
    metrics::StoreMetrics,
    postgres::listen::{ChangeListener, NotifySource},
    topic::WakeUps,
};

pub(crate) struct StoreInner {
    pub(crate) opened: OnceLock<Opened>,
    /// For a store that was unreachable at start.
    pub(crate) address: Option<Address>,
    /// Serialises attempts to reach it.
    pub(crate) reaching: Mutex<()>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: MasterKeyRing,
    pub(crate) wake_ups: WakeUps,
    pub(crate) notify_source: NotifySource,
    pub(crate) pinged: Mutex<Option<Instant>>,
    pub(crate) metrics: StoreMetrics,
}

/// Known once the store was reached.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    /// Key of the API secrets' digests.
    pub(crate) pepper: hmac::Key,
    /// PostgreSQL only.
    pub(crate) listener: Option<ChangeListener>,
}

impl StoreInner {
    pub(crate) fn new(address: Option<Address>, keys: MasterKeyRing, clock: Arc<dyn Clock>) -> Self {
        Self {
            opened: OnceLock::new(),
            address,
            reaching: Mutex::default(),
            clock,
            keys,
            wake_ups: WakeUps::new(),
            notify_source: NotifySource::draw(),
            pinged: Mutex::default(),
            metrics: StoreMetrics::default(),
        }
    }

    /// Never dials: a hundred concurrent requests must not cause a hundred attempts.
    pub(crate) fn opened(&self) -> Result<&Opened, StoreError> {
        let away = || StoreError::unavailable("it has not been reached since this program began");
        self.opened.get().ok_or_else(away)
    }

    pub(crate) fn engine(&self) -> Result<&Engine, StoreError> {
        self.opened().map(|opened| &opened.engine)
    }

    pub(crate) fn pepper(&self) -> Result<&hmac::Key, StoreError> {
        self.opened().map(|opened| &opened.pepper)
    }
}

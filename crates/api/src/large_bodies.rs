use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies over 256 KiB that a node keeps at once. One of 16 MiB needs up to 24 MiB while its buffer
/// grows: 96 MiB in all.
const PLACES: usize = 4;

/// Places for large bodies. Nothing waits for one: the client sends its body again.
#[derive(Debug)]
pub(crate) struct LargeBodies(Arc<Semaphore>);

/// Taken until it is dropped.
#[derive(Debug)]
pub(crate) struct LargeBodyPlace(#[expect(dead_code, reason = "frees the place")] OwnedSemaphorePermit);

impl LargeBodies {
    /// `None`: all are taken.
    pub(crate) fn take(&self) -> Option<LargeBodyPlace> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(LargeBodyPlace)
    }
}

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

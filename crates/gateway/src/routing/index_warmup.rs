//! Resolves names while the host index is being filled.
//!
//! A name missing from it is looked up in the store: exact, then wildcard. If that fails the device
//! is refused, never routed to the wildcard or the default. Unknown names thus reach the store; so
//! at most two look-ups run at once, each ends when the index is complete, and a negative cache
//! stops repeats.

use std::{
    collections::HashMap,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use certward_pki::HostName;
use certward_store::{DeploymentId, StoreError};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

/// Short look-ups; known deployments use the store's connections in between.
const LOOKUPS_AT_ONCE: usize = 2;
/// Of the ten seconds of a handshake.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// A new deployment's first device waits no longer than this.
const NEGATIVE_CACHE_TTL: Duration = Duration::from_secs(1);
/// About 100 bytes each; cleared when full.
const NEGATIVE_CACHE_MAX: usize = 4_096;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NameLookup {
    /// The index is complete: ask it.
    Indexed,
    Found(HostName, DeploymentId),
    Unclaimed,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct IndexWarmup {
    is_over: watch::Sender<bool>,
    lookups: Semaphore,
    /// With expiry.
    negative_cache: Mutex<HashMap<HostName, Instant>>,
    unanswered: AtomicBool,
    lookup_timeout: Duration,
}

impl Default for IndexWarmup {
    fn default() -> Self {
        Self {
            is_over: watch::Sender::new(false),
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
            negative_cache: Mutex::default(),
            unanswered: AtomicBool::new(false),
            lookup_timeout: LOOKUP_TIMEOUT,
        }
    }
}

impl IndexWarmup {
    pub(crate) fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    pub(crate) fn end(&self) {
        self.is_over.send_replace(true);
        *self.negative_cache() = HashMap::new();
    }

    /// Whether every name can be resolved, as far as is known.
    pub(crate) fn knows_all(&self) -> bool {
        self.is_over() || !self.unanswered.load(Ordering::Acquire)
    }

    pub(crate) fn len(&self) -> usize {
        self.negative_cache().len()
    }

    pub(crate) fn answered<T>(&self, answer: &Result<T, StoreError>) {
        let unanswered = matches!(answer, Err(StoreError::Unavailable(_)));
        self.unanswered.store(unanswered, Ordering::Release);
    }

    pub(crate) async fn ask<F>(&self, name: &HostName, ask: impl FnOnce() -> F) -> NameLookup
    where
        F: Future<Output = Result<Option<(HostName, DeploymentId)>, StoreError>>,
    {
        let answer = async {
            let mut over = self.is_over.subscribe();
            let _turn = tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => return NameLookup::Indexed,
                turn = self.lookups.acquire() => turn,
            };
            // After queueing: of many devices with one name, one reads the store.
            if self.is_known_unclaimed(name) {
                return NameLookup::Unclaimed;
            }
            let answer = ask().await;
            self.answered(&answer);
            match answer {
                Ok(Some((host, id))) => NameLookup::Found(host, id),
                Ok(None) => {
                    self.note_unclaimed(name);
                    NameLookup::Unclaimed
                }
                Err(error) => {
                    tracing::debug!("a name cannot be resolved: {error}");
                    NameLookup::Unknown
                }
            }
        };
        timeout(self.lookup_timeout, answer).await.unwrap_or(NameLookup::Unknown)
    }

    fn is_known_unclaimed(&self, name: &HostName) -> bool {
        self.negative_cache().get(name).is_some_and(|until| Instant::now() < *until)
    }

    fn note_unclaimed(&self, name: &HostName) {
        let mut negative_cache = self.negative_cache();
        if negative_cache.len() >= NEGATIVE_CACHE_MAX {
            negative_cache.clear();
        }
        negative_cache.insert(name.clone(), Instant::now() + NEGATIVE_CACHE_TTL);
    }

    // No panic while the lock is held.
    fn negative_cache(&self) -> MutexGuard<'_, HashMap<HostName, Instant>> {
        self.negative_cache.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    fn name(number: usize) -> HostName {
        HostName::parse(&format!("invented-{number}.example.com")).unwrap()
    }

    #[tokio::test]
    async fn a_flood_of_invented_names_asks_two_questions_at_once() {
        let warmup = Arc::<IndexWarmup>::default();
        let (under_way, most, asked) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let answers = Arc::new(Semaphore::new(0));
        let mut devices = JoinSet::new();
        for number in 0..1_000 {
            let (warmup, answers) = (Arc::clone(&warmup), Arc::clone(&answers));
            let (under_way, most, asked) = (Arc::clone(&under_way), Arc::clone(&most), Arc::clone(&asked));
            devices.spawn(async move {
                let ask = || async {
                    asked.fetch_add(1, SeqCst);
                    most.fetch_max(under_way.fetch_add(1, SeqCst) + 1, SeqCst);
                    answers.acquire().await.unwrap().forget();
                    under_way.fetch_sub(1, SeqCst);
                    Ok(None)
                };
                warmup.ask(&name(number), ask).await
            });
        }
        answers.add_permits(200);
        while asked.load(SeqCst) < 202 {
            yield_now().await;
        }
        // The index answers all waiting devices.
        warmup.end();
        answers.add_permits(2);
        let answers = devices.join_all().await;
        let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
        assert_eq!(most.load(SeqCst), LOOKUPS_AT_ONCE);
        assert_eq!((count(NameLookup::Unclaimed), count(NameLookup::Indexed)), (202, 798));
        assert_eq!(asked.load(SeqCst), 202);
    }

    #[tokio::test]
    async fn a_name_that_is_nobodys_is_asked_for_once_in_a_while() {
        let warmup = Arc::<IndexWarmup>::default();
        let asked = Arc::<AtomicUsize>::default();
        let mut devices = JoinSet::new();
        for _ in 0..100 {
            let (warmup, asked) = (Arc::clone(&warmup), Arc::clone(&asked));
            devices.spawn(async move {
                let ask = || async {
                    asked.fetch_add(1, SeqCst);
                    yield_now().await;
                    Ok(None)
                };
                warmup.ask(&name(0), ask).await
            });
        }
        let answers = devices.join_all().await;
        assert!(answers.iter().all(|answer| *answer == NameLookup::Unclaimed));
        assert!(asked.load(SeqCst) <= LOOKUPS_AT_ONCE, "those that came first, before anything was known");
    }

    #[tokio::test]
    async fn who_cannot_be_answered_is_told_so_in_time() {
        let warmup = IndexWarmup { lookup_timeout: Duration::from_millis(1), ..IndexWarmup::default() };
        assert!(warmup.knows_all());
        let silent = warmup.ask(&name(0), std::future::pending).await;
        assert_eq!(silent, NameLookup::Unknown);
        let warmup = IndexWarmup::default();
        let away = || async { Err(StoreError::Unavailable("away".to_owned())) };
        assert_eq!(warmup.ask(&name(0), away).await, NameLookup::Unknown);
        assert!(!warmup.knows_all());
        let id = DeploymentId::parse("a").unwrap();
        let found = || async { Ok(Some((name(0), id.clone()))) };
        assert_eq!(warmup.ask(&name(0), found).await, NameLookup::Found(name(0), id.clone()));
        assert!(warmup.knows_all());
        let _ = warmup.ask(&name(1), away).await;
        warmup.end();
        assert!(warmup.knows_all(), "a complete index needs no store");
    }
}

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    sync::Arc,
};

use certward_store::Upstream;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    net::lookup_host,
    sync::{Semaphore, oneshot},
};

/// Concurrent look-ups. Each holds one of 512 blocking threads, many seconds with a dead name
/// server: others must remain.
const LOOK_UPS_MAX: usize = 128;

/// Look-ups in progress, one per name, shared: when 10,000 devices return, a slow name server must
/// not hold 10,000 threads. The system cannot cancel one, so each is a task that outlives its
/// callers, and new callers join it.
#[derive(Debug)]
pub(super) struct LookUps(Arc<LookUpTable>);

#[derive(Debug)]
struct LookUpTable {
    /// Includes look-ups that wait for a place.
    in_progress: Mutex<HashMap<Upstream, LookUp>>,
    places: Semaphore,
}

type Resolved = io::Result<Arc<[SocketAddr]>>;
/// Cloneable.
type LookUpResult = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type LookUp = Shared<BoxFuture<'static, LookUpResult>>;

impl Default for LookUps {
    fn default() -> Self {
        Self::at_once(LOOK_UPS_MAX)
    }
}

impl LookUps {
    fn at_once(places: usize) -> Self {
        Self(Arc::new(LookUpTable { in_progress: Mutex::default(), places: Semaphore::new(places) }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.in_progress().len()
    }

    /// Not cached: the next call resolves again.
    pub(super) async fn ask(&self, upstream: &Upstream) -> LookUpResult {
        // An address needs no name server and no thread.
        if let Some(address) = upstream.socket_address() {
            return Ok([address].into());
        }
        let name = upstream.clone();
        let resolve = async move { Ok(lookup_host(name.as_str()).await?.collect()) };
        self.begin(upstream, resolve).await
    }

    /// Joins the name's look-up in progress, or starts this one.
    fn begin(&self, name: &Upstream, resolve: impl Future<Output = Resolved> + Send + 'static) -> LookUp {
        let (answer, answered) = oneshot::channel();
        let look_up = match self.0.in_progress().entry(name.clone()) {
            Entry::Occupied(in_progress) => return in_progress.get().clone(),
            Entry::Vacant(vacant) => {
                // The task panicked, or the process ends.
                let broken_off = || Err(Arc::new(io::Error::other("the look-up was aborted")));
                let answered = answered.map(move |answer| answer.unwrap_or_else(|_| broken_off()));
                vacant.insert(answered.boxed().shared()).clone()
            }
        };
        // Unlocked here: a runtime that shuts down drops the task, and its entry, in spawn.
        let in_progress = InProgress { table: Arc::clone(&self.0), name: name.clone() };
        tokio::spawn(async move {
            let found = {
                // Never closed.
                let _place = in_progress.table.places.acquire().await;
                resolve.await.map_err(Arc::new)
            };
            // First: a later caller must not get this answer.
            drop(in_progress);
            // All callers may have left.
            let _ = answer.send(found);
        });
        look_up
    }

    /// Sets the next answer for a name, if asked before the test awaits.
    #[cfg(test)]
    pub(super) fn answer_next(&self, upstream: &Upstream, addresses: &[SocketAddr]) {
        drop(self.begin(upstream, std::future::ready(Ok(Arc::from(addresses)))));
    }
}

impl LookUpTable {
    fn in_progress(&self) -> MutexGuard<'_, HashMap<Upstream, LookUp>> {
        self.in_progress.lock()
    }
}

/// Removes the look-up on drop, however its task ends.
struct InProgress {
    table: Arc<LookUpTable>,
    name: Upstream,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.table.in_progress().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::{Duration, sleep, timeout};

    use super::*;

    /// With a paused clock: until all tasks wait.
    const SETTLED: Duration = Duration::from_millis(1);

    fn name(number: usize) -> Upstream {
        Upstream::parse(&format!("broker{number}.test:1883")).unwrap()
    }

    fn addresses(last: u8) -> Arc<[SocketAddr]> {
        [SocketAddr::from(([10, 0, 0, last], 1883))].into()
    }

    fn slow() -> (oneshot::Sender<Arc<[SocketAddr]>>, impl Future<Output = Resolved> + Send + 'static) {
        let (answer, answered) = oneshot::channel();
        (answer, answered.map(|answer| answer.map_err(io::Error::other)))
    }

    #[tokio::test]
    async fn connections_that_want_a_name_at_once_share_one_look_up() {
        let (look_ups, name) = (LookUps::default(), name(1));
        let (answer, slow) = slow();
        drop(look_ups.begin(&name, slow));
        let ask = || look_ups.ask(&name);
        let answering = async move { answer.send(addresses(1)) };
        let (first, second, sent) = tokio::join!(ask(), ask(), answering);
        sent.unwrap();
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert_eq!(look_ups.len(), 0, "and the next one asks again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_outlives_its_callers_and_new_callers_share_it() {
        let (look_ups, name) = (LookUps::default(), name(1));
        let (answer, slow) = slow();
        drop(look_ups.begin(&name, slow));
        for _ in 0..3 {
            assert!(timeout(Duration::from_secs(5), look_ups.ask(&name)).await.is_err());
            assert_eq!(look_ups.len(), 1);
        }
        let last = look_ups.begin(&name, async { panic!("a second one") });
        answer.send(addresses(1)).unwrap();
        assert_eq!(last.await.unwrap(), addresses(1));
        assert_eq!(look_ups.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_given_to_one_who_asks_after_it() {
        let (look_ups, name) = (LookUps::default(), name(1));
        let taken = look_ups.begin(&name, ready(Ok(addresses(1))));
        assert_eq!(taken.await.unwrap(), addresses(1));
        let not_taken = look_ups.begin(&name, ready(Ok(addresses(2))));
        sleep(SETTLED).await;
        assert_eq!(look_ups.len(), 0);
        let later = look_ups.begin(&name, ready(Ok(addresses(3))));
        assert_eq!(later.await.unwrap(), addresses(3));
        assert_eq!(not_taken.await.unwrap(), addresses(2), "who asked before it may take it late");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_done_at_once_and_the_others_wait_for_a_place() {
        const PLACES: usize = 2;
        const NAMES: usize = 5;
        let look_ups = LookUps::at_once(PLACES);
        let (begun, mut beginning) = tokio::sync::mpsc::unbounded_channel();
        let asked: Vec<_> = (0..NAMES)
            .map(|number| {
                let ((answer, slow), begun) = (slow(), begun.clone());
                look_ups.begin(&name(number), async move {
                    begun.send(answer).unwrap();
                    slow.await
                })
            })
            .collect();
        sleep(SETTLED).await;
        assert_eq!((beginning.len(), look_ups.len()), (PLACES, NAMES));
        for left in (0..NAMES).rev() {
            beginning.recv().await.unwrap().send(addresses(1)).unwrap();
            sleep(SETTLED).await;
            assert_eq!((beginning.len(), look_ups.len()), (left.min(PLACES), left));
        }
        for look_up in asked {
            assert_eq!(look_up.await.unwrap(), addresses(1));
        }
    }

    #[tokio::test]
    async fn a_look_up_that_fails_or_panics_is_an_error_and_takes_no_place_afterwards() {
        let look_ups = LookUps::at_once(1);
        let failed = look_ups.begin(&name(1), ready(Err(io::ErrorKind::NotFound.into())));
        let panicked = look_ups.begin(&name(2), async { panic!("as it should") });
        assert_eq!(failed.await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(panicked.await.unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(look_ups.begin(&name(1), ready(Ok(addresses(1)))).await.unwrap(), addresses(1));
        assert_eq!(look_ups.len(), 0);
    }

    #[test]
    fn while_the_process_ends_a_look_up_is_an_error() {
        let look_ups = LookUps::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let _entered = handle.enter();
        let before = look_ups.begin(&name(1), pending());
        drop(runtime);
        let after = look_ups.begin(&name(1), pending());
        assert_eq!(look_ups.len(), 0);
        for look_up in [before, after] {
            assert!(look_up.now_or_never().is_some_and(|answer| answer.is_err()));
        }
    }
}

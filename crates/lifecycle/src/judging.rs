//! Where uploads are judged: beside the runtime's own threads, and never so many at once that devices starve.
//!
//! The largest upload that is accepted (an RSA 4096 key, a hundred client CAs, 190 KiB) costs tens of milliseconds
//! of signatures. On the threads that carry handshakes, eight such clients at once made every other request of a machine
//! with two cores wait 100 ms, and some for half a second.

use std::{num::NonZeroUsize, panic, sync::Arc};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

/// The places in which uploads are judged, each with a thread. Whoever finds none waits; the order is that of arrival.
///
/// They are threads of their own. `block_in_place`, which was used before, lets another thread take over the devices of the one that is
/// busy, with buffers of its own; how many such threads there come to be is luck, and each further one took 0.6 MiB for good.
#[derive(Debug, Clone)]
pub(crate) struct Judging {
    places: Arc<Semaphore>,
    threads: Arc<Threads>,
}

#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Judging {
    /// Half of the processors, so that the other half is always left for devices.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_places((processors / 2).max(1))
    }

    fn with_places(places: usize) -> Self {
        // Of this runtime only the threads are used that it keeps for what blocks: it has nothing to do with sockets and timers, which
        // is what can fail.
        let runtime = Builder::new_current_thread().max_blocking_threads(places).thread_name("judge").build();
        Self { places: Arc::new(Semaphore::new(places)), threads: Arc::new(Threads(runtime.ok())) }
    }

    /// Runs what costs time. Whoever does not wait for it any more leaves the line, and what he wanted judged goes with him.
    pub(crate) async fn run<T: Send + 'static>(&self, judge: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(threads) = &self.threads.0 else { return judge() };
        // Nobody closes the semaphore; if one did, judging without a place would still be right.
        let place = Arc::clone(&self.places).acquire_owned().await;
        let judging = threads.spawn_blocking(move || {
            // Taken until the judgement is done, whether anybody waits for it or not.
            let _place = place;
            judge()
        });
        match judging.await {
            Ok(judged) => judged,
            Err(error) => match error.try_into_panic() {
                Ok(cause) => panic::resume_unwind(cause),
                Err(_) => unreachable!("nobody ends it, and the threads last as long as this value"),
            },
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            // It may be dropped where nothing may wait.
            threads.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
        time::Duration,
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_runtime_goes_on_while_an_upload_is_judged() {
        let judging = Judging::new();
        let (other, heard) = tokio::sync::oneshot::channel();
        // With one worker this task can only run if the judgement does not hold it.
        let judged = tokio::spawn(async move { judging.run(move || heard.blocking_recv()).await });
        tokio::spawn(async move { other.send(()) });
        let judged = tokio::time::timeout(Duration::from_secs(10), judged).await;
        assert!(judged.expect("the other task ran").unwrap().is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_are_judged_at_once_than_there_are_places() {
        let judging = Judging::with_places(2);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (judging, now, most) = (judging.clone(), now.clone(), most.clone());
                tokio::spawn(async move {
                    let judge = move || {
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        thread::sleep(Duration::from_millis(5));
                        now.fetch_sub(1, SeqCst);
                    };
                    judging.run(judge).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(most.load(SeqCst) <= 2);
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_leaves_the_line() {
        let judging = Judging::with_places(1);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let judging = judging.clone();
            async move { judging.run(move || ended.recv()).await }
        });
        tokio::task::yield_now().await;
        let judged = Arc::new(AtomicUsize::new(0));
        let wanted = Arc::clone(&judged);
        let second = judging.run(move || wanted.fetch_add(1, SeqCst));
        assert!(tokio::time::timeout(Duration::from_millis(1), second).await.is_err());
        assert_eq!(Arc::strong_count(&judged), 1, "and nothing of what was to be judged is kept");
        end.send(()).unwrap();
        assert!(first.await.unwrap().is_ok());
        assert_eq!(judging.run(|| 7).await, 7);
        assert_eq!(judged.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn a_judgement_that_panics_takes_no_place_with_it() {
        let judging = Judging::with_places(1);
        let panicking = judging.clone();
        let cause = tokio::spawn(async move { panicking.run(|| panic!("of itself")).await }).await;
        let cause = cause.unwrap_err().into_panic();
        assert_eq!(cause.downcast_ref(), Some(&"of itself"));
        assert_eq!(judging.run(|| 7).await, 7);
    }
}

//! Where uploads are judged: beside the runtime's own threads, and never so many at once that devices starve.
//!
//! The largest upload that is accepted (an RSA 4096 key, a hundred client CAs, 190 KiB) costs tens of milliseconds
//! of signatures. On the threads that carry handshakes, eight such clients at once made every other request of a machine
//! with two cores wait 100 ms, and some for half a second.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};

/// The places in which uploads are judged. Whoever finds none waits; the order is that of arrival.
#[derive(Debug, Clone)]
pub(crate) struct Judging(Arc<Semaphore>);

impl Judging {
    /// Half of the processors, so that the other half is always left for devices.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Runs what costs time.
    pub(crate) async fn run<T>(&self, judge: impl FnOnce() -> T) -> T {
        // Nobody closes the semaphore; if one did, judging without a place would still be right.
        let _place = self.0.acquire().await;
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(judge),
            // There is no other thread that could go on meanwhile: tests.
            _ => judge(),
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
        let judging = Judging(Arc::new(Semaphore::new(2)));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (judging, now, most) = (judging.clone(), now.clone(), most.clone());
                tokio::spawn(async move {
                    let judge = || {
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
    async fn a_runtime_of_one_thread_judges_as_well() {
        assert_eq!(Judging::new().run(|| 7).await, 7);
    }
}

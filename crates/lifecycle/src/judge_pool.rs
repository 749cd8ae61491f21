//! Threads for judging uploads, with fair queueing by API key.
//!
//! The largest upload (an RSA 4096 key, a hundred client CAs, 190 KiB) costs tens of milliseconds:
//! on the threads of handshakes, eight such clients delayed others on two cores by 100 ms, some by
//! half a second.

use std::{num::NonZeroUsize, panic, sync::Arc};

use certward_store::ApiKey;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::fair_queue::{FairQueue, Ticket};

/// A bounded number of slots with a thread each; then keys take turns (`fair_queue.rs`).
///
/// Not `block_in_place`: it moves a busy thread's devices to a new thread, which costs 0.6 MiB for
/// good.
#[derive(Debug, Clone)]
pub(crate) struct JudgePool {
    slots: Arc<JudgeSlots>,
    threads: Arc<Threads>,
}

/// Each upload holds up to 256 KiB and a connection; one key must not take them all.
const QUEUED_PER_KEY_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

#[derive(Debug)]
struct JudgeSlots(Mutex<JudgeQueue>);

#[derive(Debug)]
struct JudgeQueue {
    free: usize,
    waiting: FairQueue<ApiKey, oneshot::Sender<JudgeSlot>>,
}

/// A slot; passed on when dropped.
#[derive(Debug)]
struct JudgeSlot(Arc<JudgeSlots>);

/// Leaves the queue when dropped.
struct QueuedUpload<'a> {
    slots: &'a JudgeSlots,
    key: &'a ApiKey,
    ticket: Ticket,
}

#[derive(Debug)]
struct Threads(Option<Runtime>);

impl JudgePool {
    /// The other half of the processors is for devices.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_slots((processors / 2).max(1))
    }

    fn with_slots(slots: usize) -> Self {
        // For its blocking threads only: no I/O or timer driver, which could fail.
        let runtime = Builder::new_current_thread().max_blocking_threads(slots).thread_name("judge").build();
        let queue = JudgeQueue { free: slots, waiting: FairQueue::default() };
        Self { slots: Arc::new(JudgeSlots(Mutex::new(queue))), threads: Arc::new(Threads(runtime.ok())) }
    }

    /// Runs `judge` in the turn of `key`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        key: &ApiKey,
        judge: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooMany> {
        let Some(threads) = &self.threads.0 else { return Ok(judge()) };
        let slot = self.slot(key).await?;
        let judging = threads.spawn_blocking(move || {
            // Held to the end, even if the caller is gone.
            let _slot = slot;
            judge()
        });
        match judging.await {
            Ok(judged) => Ok(judged),
            Err(error) => match error.try_into_panic() {
                Ok(cause) => panic::resume_unwind(cause),
                Err(_) => unreachable!("the runtime lives as long as this value, and aborts no task"),
            },
        }
    }

    async fn slot(&self, key: &ApiKey) -> Result<Option<JudgeSlot>, TooMany> {
        let (turn, _waiting) = {
            let mut queue = self.slots.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return Ok(Some(JudgeSlot(Arc::clone(&self.slots))));
            }
            if queue.waiting.waiting(key) >= QUEUED_PER_KEY_MAX {
                return Err(TooMany);
            }
            let (sender, turn) = oneshot::channel();
            let ticket = queue.waiting.push(key.clone(), sender);
            (turn, QueuedUpload { slots: &self.slots, key, ticket })
        };
        // Never dropped unsent; without a slot it would still be correct.
        Ok(turn.await.ok())
    }
}

impl JudgeSlots {
    fn queue(&self) -> MutexGuard<'_, JudgeQueue> {
        self.0.lock()
    }
}

impl Drop for JudgeSlot {
    fn drop(&mut self) {
        let next = {
            let mut queue = self.0.queue();
            let next = queue.waiting.pop();
            queue.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // Without a receiver the slot is freed.
            let _given_back = next.send(JudgeSlot(Arc::clone(&self.0)));
        }
    }
}

impl Drop for QueuedUpload<'_> {
    fn drop(&mut self) {
        self.slots.queue().waiting.remove(self.key, self.ticket);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            // Dropped where blocking may be forbidden.
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

    fn key(text: &str) -> ApiKey {
        ApiKey::parse(text).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_runtime_goes_on_while_an_upload_is_judged() {
        let judging = JudgePool::new();
        let (other, received) = tokio::sync::oneshot::channel();
        // One worker: this runs only if the judgement does not block it.
        let judged =
            tokio::spawn(async move { judging.run(&key("a"), move || received.blocking_recv()).await });
        tokio::spawn(async move { other.send(()) });
        let judged = tokio::time::timeout(Duration::from_secs(10), judged).await;
        assert!(judged.expect("the other task ran").unwrap().unwrap().is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_are_judged_at_once_than_there_are_places() {
        let judging = JudgePool::with_slots(2);
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
                    judging.run(&key("a"), judge).await.unwrap();
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
        let judging = JudgePool::with_slots(1);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let judging = judging.clone();
            async move { judging.run(&key("a"), move || ended.recv()).await }
        });
        tokio::task::yield_now().await;
        let judged = Arc::new(AtomicUsize::new(0));
        let wanted = Arc::clone(&judged);
        let second_key = key("a");
        let second = judging.run(&second_key, move || wanted.fetch_add(1, SeqCst));
        assert!(tokio::time::timeout(Duration::from_millis(1), second).await.is_err());
        assert_eq!(Arc::strong_count(&judged), 1, "and nothing of what was to be judged is kept");
        end.send(()).unwrap();
        assert!(first.await.unwrap().unwrap().is_ok());
        assert_eq!(judging.run(&key("a"), || 7).await, Ok(7));
        assert_eq!(judged.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn a_judgement_that_panics_takes_no_place_with_it() {
        let judging = JudgePool::with_slots(1);
        let panicking = judging.clone();
        let cause = tokio::spawn(async move { panicking.run(&key("a"), || panic!("of itself")).await }).await;
        let cause = cause.unwrap_err().into_panic();
        assert_eq!(cause.downcast_ref(), Some(&"of itself"));
        assert_eq!(judging.run(&key("a"), || 7).await, Ok(7));
    }

    /// Until the sender is dropped.
    async fn hold(judging: &JudgePool) -> std::sync::mpsc::Sender<()> {
        let (end, ended) = std::sync::mpsc::channel();
        let holding = judging.clone();
        tokio::spawn(async move { holding.run(&key("first"), move || ended.recv()).await });
        while judging.slots.queue().free > 0 {
            tokio::task::yield_now().await;
        }
        end
    }

    async fn until_waiting(judging: &JudgePool, of: &ApiKey, count: usize) {
        while judging.slots.queue().waiting.waiting(of) != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_upload_of_another_key_waits_for_one_of_a_key_that_has_many() {
        let judging = JudgePool::with_slots(1);
        let end = hold(&judging).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["a1", "a2", "a3", "a4", "b1", "a5", "c1", "b2"] {
            let of = key(&name[..1]);
            let waiting = judging.slots.queue().waiting.waiting(&of);
            let (running, order) = (judging.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                running.run(&key(&name[..1]), move || order.lock().push(name)).await.unwrap();
            }));
            until_waiting(&judging, &of, waiting + 1).await;
        }
        drop(end);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), ["a1", "b1", "c1", "a2", "b2", "a3", "a4", "a5"]);
        assert_eq!(judging.slots.queue().free, 1);
    }

    #[tokio::test]
    async fn so_many_of_one_key_wait_and_no_more_and_those_of_others_do_all_the_same() {
        let judging = JudgePool::with_slots(1);
        let end = hold(&judging).await;
        let many: Vec<_> = (0..QUEUED_PER_KEY_MAX)
            .map(|_| {
                let judging = judging.clone();
                tokio::spawn(async move { judging.run(&key("a"), || ()).await })
            })
            .collect();
        until_waiting(&judging, &key("a"), QUEUED_PER_KEY_MAX).await;
        assert_eq!(judging.run(&key("a"), || ()).await, Err(TooMany));
        let other = tokio::spawn({
            let judging = judging.clone();
            async move { judging.run(&key("b"), || 7).await }
        });
        until_waiting(&judging, &key("b"), 1).await;
        drop(end);
        assert_eq!(other.await.unwrap(), Ok(7));
        for one in many {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_place_that_comes_to_one_who_has_left_goes_on_to_the_next() {
        let judging = JudgePool::with_slots(1);
        let end = hold(&judging).await;
        let leaving = key("a");
        let mut left = Box::pin(judging.run(&leaving, || 1));
        tokio::select! {
            biased;
            _ = &mut left => panic!("there is no place"),
            () = std::future::ready(()) => {}
        }
        drop(end);
        until_waiting(&judging, &leaving, 0).await;
        drop(left);
        assert_eq!(judging.run(&key("b"), || 2).await, Ok(2));
        while judging.slots.queue().free == 0 {
            tokio::task::yield_now().await;
        }
    }
}

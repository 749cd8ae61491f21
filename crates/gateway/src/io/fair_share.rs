//! Bounds concurrent bulk work; the rest queues. Relays share one queue, handshakes have many
//! (`handshake_queue.rs`).
//!
//! A relay whose source always has data never waits for a socket. With 200 of them a handshake,
//! which needs a thread five or six times, would wait each time for a full buffer of each. So a
//! relay that filled a buffer queues; as many run as there are threads. Small messages rarely
//! queue.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    task::yield_now,
};

/// First in, first out.
#[derive(Debug)]
pub(crate) struct FairShare(Arc<Semaphore>);

/// `tokio_util::sync::PollSemaphore` and its permit have 48 bytes, this has 24, in each relay.
#[derive(Default)]
pub(crate) enum QueueSlot {
    #[default]
    None,
    Waiting(WaitingFuture),
    Mine {
        /// Held until drop, which admits the next.
        _permit: OwnedSemaphorePermit,
    },
}

type WaitingFuture = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl FairShare {
    /// `at_once`: how many hold a turn.
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once.max(1))))
    }

    /// Waits for a turn and passes it on: at most `at_once` go on per poll of a thread's sockets.
    pub(crate) async fn wait(&self) {
        let mut turn = QueueSlot::None;
        poll_fn(|cx| turn.poll(self, cx)).await;
    }
}

impl QueueSlot {
    /// Ready on its turn, which lasts until [`QueueSlot::pass_on`] or drop.
    pub(crate) fn poll(&mut self, fair_share: &FairShare, cx: &mut Context<'_>) -> Poll<()> {
        let permit = loop {
            match self {
                Self::Mine { .. } => return Poll::Ready(()),
                Self::Waiting(waiting) => break ready!(waiting.as_mut().poll(cx)),
                Self::None => match Arc::clone(&fair_share.0).try_acquire_owned() {
                    Ok(permit) => break Ok(permit),
                    Err(_) => *self = Self::Waiting(Box::pin(Arc::clone(&fair_share.0).acquire_owned())),
                },
            }
        };
        match permit {
            Ok(permit) => *self = Self::Mine { _permit: permit },
            // The semaphore is never closed.
            Err(_) => return Poll::Ready(()),
        }
        after_all_sockets(cx);
        Poll::Pending
    }

    pub(crate) fn pass_on(&mut self) {
        *self = Self::None;
    }
}

/// Wakes the task after the thread polled its sockets and woke their tasks. A plain wake only
/// queues behind woken tasks; sockets are polled once in 61 tasks.
fn after_all_sockets(cx: &mut Context<'_>) {
    if pin!(yield_now()).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
}

impl fmt::Debug for QueueSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Waiting(_) => "Waiting",
            Self::Mine { .. } => "Mine",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell, future::poll_fn, io::Write, os::unix::net::UnixStream, sync::mpsc, time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::time::timeout;

    use super::*;

    async fn mine(turn: &mut QueueSlot, fair_share: &FairShare) {
        poll_fn(|cx| turn.poll(fair_share, cx)).await;
    }

    #[tokio::test]
    async fn those_who_have_much_go_on_one_after_the_other_in_the_order_in_which_they_came() {
        let (fair_share, seen) = (FairShare::new(1), RefCell::new(Vec::new()));
        join_all((0..3).map(async |number| {
            let mut turn = QueueSlot::default();
            for _ in 0..3 {
                mine(&mut turn, &fair_share).await;
                seen.borrow_mut().push(number);
                turn.pass_on();
            }
        }))
        .await;
        assert_eq!(seen.into_inner(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test]
    async fn no_more_go_on_at_once_than_may() {
        let fair_share = FairShare::new(2);
        let mut all: [QueueSlot; 3] = Default::default();
        for turn in &mut all[..2] {
            mine(turn, &fair_share).await;
        }
        poll_fn(|cx| {
            assert!(all[2].poll(&fair_share, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        all[0].pass_on();
        mine(&mut all[2], &fair_share).await;
    }

    #[tokio::test]
    async fn dropping_a_queued_or_running_slot_blocks_no_other() {
        let fair_share = FairShare::new(1);
        let [mut first, mut second, mut third]: [QueueSlot; 3] = Default::default();
        mine(&mut first, &fair_share).await;
        poll_fn(|cx| {
            assert!(second.poll(&fair_share, cx).is_pending());
            assert!(third.poll(&fair_share, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(second);
        drop(first);
        timeout(Duration::from_secs(30), mine(&mut third, &fair_share)).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_comes_before_a_turn() {
        let (seen, had) = mpsc::channel();
        let (mut writer, reader) = UnixStream::pair().unwrap();
        reader.set_nonblocking(true).unwrap();
        let reader = tokio::net::UnixStream::from_std(reader).unwrap();
        let little = tokio::spawn({
            let seen = seen.clone();
            async move {
                reader.readable().await.unwrap();
                seen.send("socket").unwrap();
            }
        });
        // One thread: the socket is not polled yet.
        let much = tokio::spawn(async move {
            writer.write_all(b"x").unwrap();
            mine(&mut QueueSlot::default(), &FairShare::new(1)).await;
            seen.send("turn").unwrap();
        });
        little.await.unwrap();
        much.await.unwrap();
        assert_eq!(had.iter().collect::<Vec<_>>(), ["socket", "turn"]);
    }
}

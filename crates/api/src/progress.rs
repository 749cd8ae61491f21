//! How far the client of a connection has come, and until when it must have come further.
//!
//! hyper has one timeout for the headers, which also runs while nothing is under way; the contract has several. So each
//! connection carries one deadline that its phases move: bytes that arrive (seen by [`Watched`]), a request that is
//! handed to the router, its answer, and the answer's end (seen by [`AnswerBody`]).

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::Instant,
};

use crate::Deadlines;

/// A request is answered long before: 20 s of body and 60 s of `Prefer: wait`, and the store gives up after seconds.
/// This is for what nobody thought of.
const ANSWERED_WITHIN: Duration = Duration::from_secs(180);

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has ever come.
    New { since: Instant },
    /// No request is under way, no byte of a next one has come.
    Idle { since: Instant },
    /// Some of a request's headers have come.
    Headers,
    /// The router has the request.
    Request,
    /// The client is taking the answer.
    Answer,
}

/// Shared by all who move the deadline and the one who keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deadlines: Deadlines,
    phase: Mutex<Phase>,
    deadline: watch::Sender<Instant>,
}

impl Progress {
    /// A new connection: its first byte and its first headers are due together.
    pub(crate) fn new(deadlines: Deadlines) -> Self {
        let now = Instant::now();
        let deadline = watch::Sender::new(now + deadlines.headers);
        Self(Arc::new(Inner { deadlines, phase: Mutex::new(Phase::New { since: now }), deadline }))
    }

    /// Resolves when the client has let its deadline pass.
    pub(crate) async fn overdue(&self) {
        let mut changes = self.0.deadline.subscribe();
        loop {
            let deadline = *changes.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
            }
        }
    }

    /// Whether closing now would lose nobody's request or answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_idle_for(Duration::ZERO)
    }

    /// Whether it has been so for as long as this.
    pub(crate) fn is_idle_for(&self, time: Duration) -> bool {
        matches!(*self.phase(), Phase::New { since } | Phase::Idle { since } if since.elapsed() >= time)
    }

    /// Whether nothing has ever come.
    pub(crate) fn is_new(&self) -> bool {
        matches!(*self.phase(), Phase::New { .. })
    }

    pub(crate) fn request_begins(&self) {
        self.enter(Phase::Request, ANSWERED_WITHIN);
    }

    /// Wraps an answer so that its end is seen.
    pub(crate) fn answer_begins(&self, body: Body) -> AnswerBody {
        self.enter(Phase::Answer, self.0.deadlines.answer);
        AnswerBody { body, progress: self.clone() }
    }

    fn answer_ends(&self) {
        self.enter(Phase::Idle { since: Instant::now() }, self.0.deadlines.idle);
    }

    fn bytes_arrived(&self, first: bool) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::New { .. } | Phase::Idle { .. }) {
            *phase = Phase::Headers;
            // Of the first request the whole is due since the connection began.
            if !first {
                self.0.deadline.send_replace(Instant::now() + self.0.deadlines.headers);
            }
        }
    }

    fn enter(&self, next: Phase, within: Duration) {
        *self.phase() = next;
        self.0.deadline.send_replace(Instant::now() + within);
    }

    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that notes when bytes arrive.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    progress: Progress,
    first: bool,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, progress: Progress) -> Self {
        Self { stream, progress, first: true }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.progress.bytes_arrived(self.first);
            self.first = false;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of an answer; when hyper drops it, all of it has been written or the client is gone.
pub(crate) struct AnswerBody {
    body: Body,
    progress: Progress,
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.progress.answer_ends();
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

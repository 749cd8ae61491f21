//! The phase of a connection and its one deadline.
//!
//! hyper has a single timeout for headers, which also runs while idle; the contract has several.
//! Phases move on received bytes ([`Watched`]), the request, its body ([`RequestBody`]), the answer
//! and its end ([`AnswerBody`]); they also decide on eviction (`evictions.rs`).

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::Instant,
};

use crate::{
    ApiDeadlines,
    evictions::ConnectionState,
    heads::Heads,
    places::{ApiConnectionPlace, ServePermit},
};

/// A safety net: at most 20 s of body and 60 s of `Prefer: wait`; the store times out after
/// seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Debug)]
enum Phase {
    /// No byte received yet.
    New { since: Instant },
    /// Between requests.
    Idle { since: Instant },
    /// Part of a head received.
    Headers { since: Instant },
    /// Waits for a permit.
    Queued { since: Instant },
    /// The router has the request.
    Request { since: Instant, _turn: ServePermit },
    /// The router awaits the body.
    Body { since: Instant },
    /// The client receives the answer.
    Answer { since: Instant },
}

impl Phase {
    fn state(&self) -> ConnectionState {
        match *self {
            Self::New { since } | Self::Idle { since } => ConnectionState::Quiet { since },
            Self::Headers { since }
            | Self::Queued { since }
            | Self::Body { since }
            | Self::Answer { since } => ConnectionState::Unfinished { since },
            Self::Request { .. } => ConnectionState::Served,
        }
    }

    /// For a request: its first byte.
    fn since(&self) -> Instant {
        match *self {
            Self::New { since }
            | Self::Idle { since }
            | Self::Headers { since }
            | Self::Queued { since }
            | Self::Request { since, .. }
            | Self::Body { since }
            | Self::Answer { since } => since,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ConnectionDeadline(Arc<DeadlineState>);

#[derive(Debug)]
struct DeadlineState {
    deadlines: ApiDeadlines,
    place: Arc<ApiConnectionPlace>,
    phase: Mutex<Phase>,
    deadline: watch::Sender<Instant>,
    body_is_read: AtomicBool,
    /// The last head has a `Transfer-Encoding` and a `Content-Length`.
    has_two_ends: AtomicBool,
}

impl ConnectionDeadline {
    /// First byte and first headers have one deadline.
    pub(crate) fn new(deadlines: ApiDeadlines, place: Arc<ApiConnectionPlace>) -> Self {
        let now = Instant::now();
        let deadline = watch::Sender::new(now + deadlines.headers);
        let phase = Phase::New { since: now };
        place.set_state(phase.state());
        let phase = Mutex::new(phase);
        let (body_is_read, has_two_ends) = (AtomicBool::new(true), AtomicBool::new(false));
        Self(Arc::new(DeadlineState { deadlines, place, phase, deadline, body_is_read, has_two_ends }))
    }

    /// Resolves after the deadline.
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

    /// A close now loses no request or answer.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(*self.phase(), Phase::New { .. } | Phase::Idle { .. })
    }

    pub(crate) fn is_new(&self) -> bool {
        matches!(*self.phase(), Phase::New { .. })
    }

    /// Its body may be incomplete.
    pub(crate) fn request_begins(&self) {
        self.0.body_is_read.store(false, Ordering::Relaxed);
        let since = self.phase().since();
        self.enter(Phase::Queued { since }, REQUEST_TIMEOUT);
    }

    pub(crate) async fn turn_comes(&self, is_probe: bool) {
        let turn = self.0.place.turn(is_probe).await;
        if !self.is_served(turn) {
            // Evicted: the task ends at its next step.
            std::future::pending().await
        }
    }

    /// `false` if evicted.
    fn is_served(&self, turn: ServePermit) -> bool {
        self.set(|since| Phase::Request { since, _turn: turn })
    }

    fn body_is_awaited(&self) {
        self.set(|since| Phase::Body { since });
    }

    /// The whole request was read.
    pub(crate) fn body_is_read(&self) -> bool {
        self.0.body_is_read.load(Ordering::Relaxed)
    }

    pub(crate) fn has_two_ends(&self) -> bool {
        self.0.has_two_ends.load(Ordering::Relaxed)
    }

    pub(crate) fn answer_begins(&self, body: Body) -> AnswerBody {
        self.enter(Phase::Answer { since: Instant::now() }, self.0.deadlines.answer);
        AnswerBody { body, progress: self.clone() }
    }

    fn answer_ends(&self) {
        self.enter(Phase::Idle { since: Instant::now() }, self.0.deadlines.idle);
    }

    fn bytes_arrived(&self, first: bool) {
        let since = match *self.phase() {
            // Due since the connection began.
            Phase::New { since } => since,
            Phase::Idle { .. } => Instant::now(),
            _ => return,
        };
        self.set(|_| Phase::Headers { since });
        if !first {
            self.0.deadline.send_replace(since + self.0.deadlines.headers);
        }
    }

    fn enter(&self, next: Phase, within: Duration) {
        self.set(|_| next);
        self.0.deadline.send_replace(Instant::now() + within);
    }

    /// `false` if evicted.
    fn set(&self, next: impl FnOnce(Instant) -> Phase) -> bool {
        let mut phase = self.phase();
        *phase = next(phase.since());
        self.0.place.set_state(phase.state())
    }

    fn phase(&self) -> parking_lot::MutexGuard<'_, Phase> {
        self.0.phase.lock()
    }
}

#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    progress: ConnectionDeadline,
    first: bool,
    heads: Heads,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, progress: ConnectionDeadline) -> Self {
        Self { stream, progress, first: true, heads: Heads::default() }
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
            let this = &mut *self;
            this.heads.read(&buffer.filled()[before..]);
            if this.heads.has_both() {
                this.progress.0.has_two_ends.store(true, Ordering::Relaxed);
            }
            this.progress.bytes_arrived(this.first);
            this.first = false;
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

/// May be evicted while more of the body is awaited.
pub(crate) struct RequestBody<B: HttpBody> {
    body: B,
    reading: BodyReading<B>,
    progress: ConnectionDeadline,
}

enum BodyReading<B: HttpBody> {
    /// Not read by the router yet.
    Unasked,
    Asked,
    /// Complete, waiting for a permit.
    Received {
        last: LastFrame<B>,
        turn: Pin<Box<dyn Future<Output = ServePermit> + Send>>,
    },
    Over,
}

type LastFrame<B> = Option<Result<Frame<<B as HttpBody>::Data>, <B as HttpBody>::Error>>;

impl<B: HttpBody> RequestBody<B> {
    pub(crate) fn new(body: B, progress: ConnectionDeadline) -> Self {
        let reading = match body.is_end_stream() {
            true => {
                progress.0.body_is_read.store(true, Ordering::Relaxed);
                BodyReading::Over
            }
            false => BodyReading::Unasked,
        };
        Self { body, reading, progress }
    }
}

impl<B: HttpBody> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl<B> HttpBody for RequestBody<B>
where
    B: HttpBody + Unpin,
    B::Data: Unpin,
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LastFrame<B>> {
        let this = &mut *self;
        loop {
            match &mut this.reading {
                BodyReading::Unasked => {
                    this.progress.body_is_awaited();
                    this.reading = BodyReading::Asked;
                }
                BodyReading::Asked => {
                    let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
                    let more = matches!(frame, Some(Ok(_))) && !this.body.is_end_stream();
                    if more {
                        return Poll::Ready(frame);
                    }
                    // After an error the client may send more.
                    let is_read = !matches!(frame, Some(Err(_)));
                    this.progress.0.body_is_read.store(is_read, Ordering::Relaxed);
                    let place = Arc::clone(&this.progress.0.place);
                    let turn = Box::pin(async move { place.turn(false).await });
                    this.reading = BodyReading::Received { last: frame, turn };
                }
                BodyReading::Received { last, turn } => {
                    let turn = ready!(turn.as_mut().poll(cx));
                    let last = last.take();
                    this.reading = BodyReading::Over;
                    // Evicted, as in `turn_comes`.
                    return if this.progress.is_served(turn) { Poll::Ready(last) } else { Poll::Pending };
                }
                BodyReading::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.reading, BodyReading::Over)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Dropped by hyper once written, or after a disconnect.
pub(crate) struct AnswerBody {
    body: Body,
    progress: ConnectionDeadline,
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

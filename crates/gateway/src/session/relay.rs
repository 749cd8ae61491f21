//! Carries bytes between a device and its broker until both sides end.
//!
//! Each direction ends on its own (close_notify to the device, FIN to the broker). A side that does
//! not read stops reads of the other; at most one read is queued. An idle relay holds no buffer.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::AsyncWrite,
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    Protocol,
    io::{
        fair_share::{FairShare, QueueSlot},
        tls::Tls,
        wire::{Amount, Fault, ReadState, send_now, with_buffers},
        write_backlog::WriteBacklog,
    },
    observe::{reason::ClosedReason, relayed_bytes::RelayedBytes},
    session::broker_answer::BrokerAnswer,
};

#[derive(Debug)]
pub(crate) struct Relay {
    tls: Tls,
    device: TcpStream,
    broker: TcpStream,
    /// Decrypted.
    to_broker: WriteBacklog,
    /// Encrypted.
    to_device: WriteBacklog,
    /// `to_device` waits for the broker's first bytes.
    held: bool,
    upward: Half,
    downward: Half,
    first_answer: Milestone,
    /// As long as it is awaited.
    answer: Option<Box<BrokerAnswer>>,
    acceptance: Milestone,
    /// The broker ended its side while the device's was open.
    broker_end: Milestone,
    /// The last read may have left bytes: wait for a turn.
    more: bool,
    turn: QueueSlot,
    /// Shared: the same for all.
    limits: Arc<RelayLimits>,
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Bytes in transit when a relay starts.
pub(crate) struct Opening {
    /// Decrypted, for the broker.
    pub(crate) first: Vec<u8>,
    /// Travel with the broker's first answer: TLS 1.3's session ticket.
    pub(crate) held: Vec<u8>,
    pub(crate) read_state: ReadState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    /// The sink is not closed yet.
    Ending,
    Ended,
}

/// Reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Milestone {
    Awaited,
    Reached,
    Reported,
}

impl Milestone {
    fn reach(&mut self) {
        if *self == Self::Awaited {
            *self = Self::Reached;
        }
    }

    fn is_reached(self) -> bool {
        self != Self::Awaited
    }

    fn is_news(&mut self) -> bool {
        let is_news = *self == Self::Reached;
        if is_news {
            *self = Self::Reported;
        }
        is_news
    }
}

#[derive(Debug)]
pub(crate) struct RelayLimits {
    /// While both sides are open.
    pub(crate) idle: Option<Duration>,
    /// Once one has ended.
    pub(crate) half_closed: Duration,
    /// Per direction, while a backlog is not taken.
    pub(crate) stalled: Duration,
}

#[derive(Debug, Error)]
pub(crate) enum RelayError {
    #[error("the device's connection: {0}")]
    Device(io::Error),
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("the broker's connection: {0}")]
    Broker(io::Error),
    #[error("the connection was idle for too long")]
    Idle,
    #[error("the write backlog to the device stalled for too long")]
    DeviceStalled,
    #[error("the write backlog to the broker stalled for too long")]
    BrokerStalled,
}

impl RelayError {
    fn at_the_device(fault: Fault) -> Self {
        match fault {
            Fault::Socket(error) => Self::Device(error),
            Fault::Tls(error) => Self::Tls(error),
        }
    }

    fn at_the_broker(fault: Fault) -> Self {
        match fault {
            Fault::Socket(error) => Self::Broker(error),
            Fault::Tls(error) => Self::Tls(error),
        }
    }

    pub(crate) fn reason(&self) -> ClosedReason {
        match self {
            Self::Device(_) => ClosedReason::ClientBroken,
            Self::Tls(_) => ClosedReason::TlsError,
            Self::Broker(_) => ClosedReason::UpstreamBroken,
            Self::Idle => ClosedReason::Idle,
            Self::DeviceStalled => ClosedReason::ClientStalled,
            Self::BrokerStalled => ClosedReason::UpstreamStalled,
        }
    }
}

/// Small reads before a direction yields; a full buffer yields at once. A busy source must not
/// delay handshakes.
const READS_MAX: u32 = 2;

impl Amount {
    fn weight(self) -> u32 {
        match self {
            Self::Part => 1,
            Self::Full => READS_MAX,
        }
    }
}

impl Relay {
    pub(crate) fn new(
        tls: Tls,
        device: TcpStream,
        broker: TcpStream,
        opening: Opening,
        protocol: Protocol,
        limits: Arc<RelayLimits>,
    ) -> Self {
        let Opening { first, held, read_state } = opening;
        Self {
            tls,
            device,
            broker,
            to_broker: first.into(),
            held: !held.is_empty(),
            to_device: held.into(),
            upward: if read_state == ReadState::End { Half::Ending } else { Half::Open },
            downward: Half::Open,
            first_answer: Milestone::Awaited,
            answer: Some(Box::new(BrokerAnswer::awaited(protocol))),
            acceptance: Milestone::Awaited,
            broker_end: Milestone::Awaited,
            more: false,
            turn: QueueSlot::None,
            limits,
            last: Instant::now(),
            timer: None,
        }
    }

    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Whether the broker has answered for the first time since the last call.
    pub(crate) fn has_first_answer(&mut self) -> bool {
        self.first_answer.is_news()
    }

    /// Whether the broker has accepted the device since the last call.
    pub(crate) fn has_acceptance(&mut self) -> bool {
        self.acceptance.is_news()
    }

    /// Whether the broker, before the device, has ended its side since the last call.
    pub(crate) fn has_broker_end(&mut self) -> bool {
        self.broker_end.is_news()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.first_answer.is_reached()
    }

    pub(crate) fn is_ended_by_broker(&self) -> bool {
        self.broker_end.is_reached()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.upward == Half::Ended && self.downward == Half::Ended
    }

    /// Closes the broker's side.
    pub(crate) fn into_device(mut self) -> (Tls, TcpStream, Vec<u8>) {
        (self.tls, self.device, self.to_device.take())
    }

    /// Ready when both sides have ended or one is broken.
    pub(crate) fn poll(
        &mut self,
        fair_share: &FairShare,
        relayed: &RelayedBytes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RelayError>> {
        if self.more {
            ready!(self.turn.poll(fair_share, cx));
            self.more = false;
        }
        let polled = self.poll_both(relayed, cx);
        self.turn.pass_on();
        if polled.is_pending() && self.more {
            // Ready only if the semaphore were closed.
            if self.turn.poll(fair_share, cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        polled
    }

    /// Passes on the turn while the relay is not polled.
    pub(crate) fn pass_turn_on(&mut self) {
        self.turn.pass_on();
    }

    fn poll_both(&mut self, relayed: &RelayedBytes, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        // First: the device's bytes may make TLS answer, which the second half sends.
        let up = self.poll_upward(relayed, cx);
        // On an error still drain downward: a broker's refusal before its reset must reach the
        // device.
        let to_the_end = matches!(up, Poll::Ready(Err(_)));
        let down = self.poll_downward(relayed, cx, to_the_end);
        let (up, down) = (up?, down?);
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_timer(cx).map(Err)
    }

    fn poll_upward(&mut self, relayed: &RelayedBytes, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        let mut reads = 0;
        loop {
            // A broker that does not read stops reads of its device.
            ready!(self.poll_send_up(cx))?;
            match self.upward {
                Half::Open => reads += ready!(self.poll_device(relayed, cx))?.weight(),
                Half::Ending => {
                    ready!(Pin::new(&mut self.broker).poll_shutdown(cx)).map_err(RelayError::Broker)?;
                    self.upward = Half::Ended;
                }
                Half::Ended => return Poll::Ready(Ok(())),
            }
            self.happened();
            if reads >= READS_MAX {
                self.more = true;
                return Poll::Pending;
            }
        }
    }

    fn poll_device(
        &mut self,
        relayed: &RelayedBytes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Amount, RelayError>> {
        with_buffers(|buffers| {
            let read_state = ready!(buffers.poll_decrypt(&mut self.tls, &mut self.device, cx));
            if !buffers.out.is_empty() {
                self.to_device.push(buffers.out.as_slice());
                self.held = false;
            }
            // Bytes before an error count.
            relayed.to_broker(buffers.plain.len());
            let sent = send_now(&mut self.broker, &buffers.plain, cx).map_err(RelayError::Broker)?;
            self.to_broker.push(&buffers.plain[sent..]);
            if read_state.map_err(RelayError::at_the_device)? == ReadState::End {
                self.upward = Half::Ending;
            }
            Poll::Ready(Ok(buffers.amount))
        })
    }

    fn poll_downward(
        &mut self,
        relayed: &RelayedBytes,
        cx: &mut Context<'_>,
        to_the_end: bool,
    ) -> Poll<Result<(), RelayError>> {
        let mut reads = 0;
        loop {
            if self.downward == Half::Ended {
                // Nothing can be sent after the close, not even an alert.
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_send_down(cx))?;
            if self.downward == Half::Ending {
                ready!(Pin::new(&mut self.device).poll_shutdown(cx)).map_err(RelayError::Device)?;
                self.downward = Half::Ended;
            } else {
                reads += ready!(self.poll_broker(relayed, cx))?.weight();
            }
            self.happened();
            if reads >= READS_MAX && !to_the_end {
                self.more = true;
                return Poll::Pending;
            }
        }
    }

    fn poll_broker(
        &mut self,
        relayed: &RelayedBytes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Amount, RelayError>> {
        with_buffers(|buffers| {
            if self.held {
                buffers.out.extend_from_slice(self.to_device.as_slice());
            }
            let read = ready!(buffers.poll_encrypt(&mut self.tls, &mut self.broker, cx));
            let read = read.map_err(RelayError::at_the_broker)?;
            relayed.to_device(read);
            if read == 0 {
                self.tls.close_notify(&mut buffers.out);
                self.downward = Half::Ending;
                if self.upward == Half::Open {
                    self.broker_end.reach();
                }
            } else {
                self.first_answer.reach();
                if let Some(answer) = &mut self.answer {
                    if answer.accepts_with(buffers.read_from_broker(read)) {
                        self.acceptance.reach();
                    }
                    self.answer.take_if(|answer| answer.is_decided());
                }
            }
            if self.held {
                self.held = false;
                self.to_device = WriteBacklog::default();
            }
            let out = buffers.out.as_slice();
            let sent = send_now(&mut self.device, out, cx).map_err(RelayError::Device)?;
            self.to_device.push(&out[sent..]);
            Poll::Ready(Ok(buffers.amount))
        })
    }

    fn poll_send_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        while !self.to_broker.is_empty() {
            ready!(self.to_broker.poll_send(&mut self.broker, cx)).map_err(RelayError::Broker)?;
            self.happened();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        while !self.held && !self.to_device.is_empty() {
            ready!(self.to_device.poll_send(&mut self.device, cx)).map_err(RelayError::Device)?;
            self.happened();
        }
        Poll::Ready(Ok(()))
    }

    fn happened(&mut self) {
        if self.limit().is_some() {
            self.last = Instant::now();
        }
    }

    fn limit(&self) -> Option<Duration> {
        if self.upward == Half::Open && self.downward == Half::Open {
            self.limits.idle
        } else {
            Some(self.limits.half_closed)
        }
    }

    /// The first limit to expire.
    fn due(&self) -> Option<(Instant, RelayError)> {
        let limits = &self.limits;
        let silent = self.limit().map(|limit| (self.last + limit, RelayError::Idle));
        // A side that is not read while the other stalls cannot report its end.
        let stalled = |rest: &WriteBacklog, broken| Some((rest.stalled_since()? + limits.stalled, broken));
        let device = stalled(&self.to_device, RelayError::DeviceStalled);
        let broker = stalled(&self.to_broker, RelayError::BrokerStalled);
        [silent, device, broker].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// One timer, reset when it fires and not on every byte.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<RelayError> {
        if self.limit().is_none() && self.to_device.is_empty() && self.to_broker.is_empty() {
            return Poll::Pending;
        }
        let Some((due, broken)) = self.due() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(broken);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_relay_is_small() {
        // Paid for each connected device.
        assert!(size_of::<Relay>() <= 208, "{}", size_of::<Relay>());
    }
}

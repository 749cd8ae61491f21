//! Carries bytes between a device and its broker until both have ended.
//!
//! Each direction ends on its own: the end of one side is passed on (close_notify to the device, FIN to the broker) while the
//! other still speaks. A side that does not read stops the other from being read: nothing is queued but what was read at once.
//! While nothing is under way the relay holds no buffer; leftovers are kept only until they are written.

use std::{
    future::Future,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::ServerConnection;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use crate::wire::{poll_flush, with_plain_buffer, with_socket_buffer};

#[derive(Debug)]
pub(crate) struct Relay {
    tls: Box<ServerConnection>,
    client: TcpStream,
    upstream: TcpStream,
    /// Ciphertext of the device that waits until the broker has taken what came before it.
    undecrypted: Vec<u8>,
    /// Decrypted bytes that the broker has not taken yet.
    unwritten: Vec<u8>,
    to_upstream: Half,
    to_client: Half,
    limits: Limits,
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How far a direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Its source still speaks.
    Open,
    /// Its source has ended; the sink does not know yet.
    Ending,
    /// The sink was told.
    Ended,
}

/// How long nothing may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// While both sides speak.
    pub(crate) idle: Option<Duration>,
    /// Once one has ended.
    pub(crate) half_closed: Duration,
}

/// Why a relay ended before both sides had.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    #[error("the device's connection: {0}")]
    Client(io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the broker's connection: {0}")]
    Upstream(io::Error),
    #[error("nothing happened for too long")]
    Idle,
}

impl Broken {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Client(_) => "client_broken",
            Self::Tls(_) => "tls_error",
            Self::Upstream(_) => "upstream_broken",
            Self::Idle => "idle",
        }
    }
}

/// How often one direction reads before others have their turn: a broker that is never done must not keep a thread from the
/// handshakes of others. Twice 64 KiB: what being called again costs is nothing beside sealing them.
const TURNS_MAX: u32 = 2;

impl Relay {
    /// `first` is what was already decrypted and comes first.
    pub(crate) fn new(
        mut tls: Box<ServerConnection>,
        client: TcpStream,
        upstream: TcpStream,
        first: Vec<u8>,
        limits: Limits,
    ) -> Self {
        // Bounded by what is read from the broker at once: it is read only when all before it is sent.
        tls.set_buffer_limit(None);
        Self {
            tls,
            client,
            upstream,
            undecrypted: Vec::new(),
            unwritten: first,
            to_upstream: Half::Open,
            to_client: Half::Open,
            limits,
            last: Instant::now(),
            timer: None,
        }
    }

    /// The device's TLS, to look at.
    pub(crate) fn tls(&self) -> &ServerConnection {
        &self.tls
    }

    /// The device's side, to say good-bye to it; the broker's is closed.
    pub(crate) fn into_client(self) -> (Box<ServerConnection>, TcpStream) {
        (self.tls, self.client)
    }

    /// Ready when both sides have ended, or one is broken.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        // The order matters: what the device sent may make TLS answer (a key update), which the second half then sends.
        let up = self.poll_to_upstream(cx);
        let down = self.poll_to_client(cx);
        // And an error of the first half waits for the second: a broker that says why it refuses and then resets the connection
        // must still be heard.
        let (up, down) = (up?, down?);
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_timer(cx).map(Err)
    }

    /// The device's bytes to the broker.
    fn poll_to_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.unwritten.is_empty() {
                let written = ready!(Pin::new(&mut self.upstream).poll_write(cx, &self.unwritten));
                let written = some(written).map_err(Broken::Upstream)?;
                self.happened();
                self.unwritten.drain(..written);
                if self.unwritten.is_empty() {
                    self.unwritten = Vec::new();
                }
                continue;
            }
            match self.to_upstream {
                Half::Open => {}
                Half::Ending => {
                    ready!(Pin::new(&mut self.upstream).poll_shutdown(cx)).map_err(Broken::Upstream)?;
                    self.to_upstream = Half::Ended;
                    continue;
                }
                Half::Ended => return Poll::Ready(Ok(())),
            }
            // Before the socket: bytes may have come together with the end of the handshake, and the socket stays silent then.
            let all_taken = self.decrypted_to_upstream(cx)?;
            if all_taken || !self.unwritten.is_empty() || self.to_upstream != Half::Open {
                continue;
            }
            if !self.undecrypted.is_empty() {
                let waiting = std::mem::take(&mut self.undecrypted);
                self.take_ciphertext(&waiting, cx)?;
                continue;
            }
            match ready!(self.poll_read_client(cx)) {
                Ok(0) => self.end_of_client(),
                Ok(_) => self.happened(),
                Err(broken) => return Poll::Ready(Err(broken)),
            }
        }
    }

    fn poll_read_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        with_socket_buffer(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.client).poll_read(cx, &mut buffer)).map_err(Broken::Client)?;
            self.take_ciphertext(buffer.filled(), cx)?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Decrypts and passes on as long as the broker takes it; keeps the rest.
    fn take_ciphertext(&mut self, mut bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Broken> {
        while !bytes.is_empty() && self.unwritten.is_empty() && self.to_upstream == Half::Open {
            // After a close_notify, rustls takes nothing more, and nothing more counts.
            if self.tls.read_tls(&mut bytes).map_err(Broken::Client)? == 0 {
                break;
            }
            self.tls.process_new_packets()?;
            while self.decrypted_to_upstream(cx)? {}
        }
        if self.to_upstream == Half::Open && !self.unwritten.is_empty() {
            self.undecrypted = bytes.to_vec();
        }
        Ok(())
    }

    /// Passes one piece of decrypted bytes on: whether there was one, and the broker took all of it.
    fn decrypted_to_upstream(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        with_plain_buffer(|buffer| {
            let len = match self.tls.reader().read(buffer) {
                Ok(0) => {
                    self.end_of_client();
                    return Ok(false);
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Broken::Client(error)),
            };
            self.happened();
            let written = match Pin::new(&mut self.upstream).poll_write(cx, &buffer[..len]) {
                Poll::Ready(written) => some(written).map_err(Broken::Upstream)?,
                Poll::Pending => 0,
            };
            self.unwritten.extend_from_slice(&buffer[written..len]);
            Ok(self.unwritten.is_empty())
        })
    }

    /// The device ended its half, with or without a close_notify: many devices send none, and MQTT's own framing shows a
    /// packet that was cut off.
    fn end_of_client(&mut self) {
        if self.to_upstream == Half::Open {
            self.to_upstream = Half::Ending;
        }
        self.happened();
    }

    /// The broker's bytes to the device.
    fn poll_to_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut turns = 0;
        loop {
            if self.to_client == Half::Ended {
                // Nothing can be sent any more, not even the answer to a key update.
                return Poll::Ready(Ok(()));
            }
            if self.tls.wants_write() {
                ready!(poll_flush(&mut self.tls, &mut self.client, cx)).map_err(Broken::Client)?;
                self.happened();
            }
            if self.to_client == Half::Ending {
                ready!(Pin::new(&mut self.client).poll_shutdown(cx)).map_err(Broken::Client)?;
                self.to_client = Half::Ended;
                continue;
            }
            if ready!(self.poll_read_upstream(cx))? == 0 {
                self.tls.send_close_notify();
                self.to_client = Half::Ending;
            }
            self.happened();
            turns += 1;
            if turns == TURNS_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn poll_read_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        with_socket_buffer(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.upstream).poll_read(cx, &mut buffer)).map_err(Broken::Upstream)?;
            self.tls.writer().write_all(buffer.filled()).map_err(Broken::Client)?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    fn happened(&mut self) {
        if self.limit().is_some() {
            self.last = Instant::now();
        }
    }

    fn limit(&self) -> Option<Duration> {
        if self.to_upstream == Half::Open && self.to_client == Half::Open {
            self.limits.idle
        } else {
            Some(self.limits.half_closed)
        }
    }

    /// One timer that is set anew when it fires and not at every byte.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        let Some(limit) = self.limit() else { return Poll::Pending };
        let due = self.last + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            // The shorter limit of a half-closed connection took over.
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(Broken::Idle);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// A write that takes nothing never ends.
fn some(written: io::Result<usize>) -> io::Result<usize> {
    match written? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_relay_is_small() {
        // Every byte here is paid once for each connected device.
        assert!(size_of::<Relay>() <= 256, "{}", size_of::<Relay>());
    }
}

//! Bytes between TLS and sockets, in buffers of the thread: no connection owns one, and none outlives a poll.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::io::{
    socket::acknowledge,
    tls::{INCOMPLETE_MAX, Peer, SendBuffer, Tls},
};

/// What is read from a socket at once: four full TLS records.
const CHUNK: usize = 64 * 1024;
/// What a peer may still send after we have said good-bye before we stop reading it.
const LINGER_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        incoming: vec![0; INCOMPLETE_MAX + CHUNK].into(),
        plain: Vec::with_capacity(CHUNK),
        out: SendBuffer::default(),
        amount: Amount::Part,
    });
}

/// The buffers of a thread.
pub(crate) struct Buffers {
    incoming: Box<[u8]>,
    /// What was decrypted.
    pub(crate) plain: Vec<u8>,
    /// What is to be sent to the device.
    pub(crate) out: SendBuffer,
    /// How much the last read brought.
    pub(crate) amount: Amount,
}

/// How much a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// All that was there, very likely.
    Part,
    /// As much as it had room for: there may be more.
    Full,
}

/// Why nothing more comes from one side.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("the connection: {0}")]
    Socket(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What one read from a device brought, beside bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It speaks still.
    More,
    /// It ended its half, with or without a close_notify: many devices send none, and MQTT's own framing shows a packet that was
    /// cut off.
    End,
}

impl Heard {
    fn of(peer: Peer) -> Self {
        match peer {
            Peer::Open => Self::More,
            Peer::Closed => Self::End,
        }
    }
}

/// Lends the thread's buffers, empty. For one poll, never over an await, and never twice at once.
pub(crate) fn with_buffers<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.plain.clear();
        buffers.out.clear();
        work(buffers)
    })
}

impl Buffers {
    /// Reads once from a socket to `at` in `incoming`: how many bytes, 0 at the end.
    fn poll_read(
        &mut self,
        at: usize,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut fresh = ReadBuf::new(&mut self.incoming[at..at + CHUNK]);
        ready!(Pin::new(stream).poll_read(cx, &mut fresh))?;
        self.amount = if fresh.remaining() == 0 { Amount::Full } else { Amount::Part };
        Poll::Ready(Ok(fresh.filled().len()))
    }

    /// Reads once from a device and lets its TLS take what came: decrypted bytes are then in `plain`, answers in `out`, also when
    /// it fails.
    pub(crate) fn poll_hear(
        &mut self,
        tls: &mut Tls,
        device: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Heard, Fault>> {
        let before = tls.incomplete().len();
        let end = before + ready!(self.poll_read(before, device, cx))?;
        if end == before {
            return Poll::Ready(Ok(Heard::End));
        }
        self.incoming[..before].copy_from_slice(tls.incomplete());
        let taken = tls.take(&mut self.incoming[..end], &mut self.plain, &mut self.out)?;
        Poll::Ready(Ok(Heard::of(taken)))
    }

    /// Reads once from a broker and encrypts what came into `out`: how many bytes, 0 at the end.
    pub(crate) fn poll_encrypt(
        &mut self,
        tls: &mut Tls,
        broker: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Fault>> {
        let len = ready!(self.poll_read(0, broker, cx))?;
        if len > 0 {
            tls.encrypt(&self.incoming[..len], &mut self.out)?;
        }
        Poll::Ready(Ok(len))
    }
}

/// What came of one read from a device, in buffers of its own: for the beginning of a connection, where some are needed anyway.
pub(crate) struct Hearing {
    pub(crate) outcome: Result<Heard, Fault>,
    /// What was decrypted.
    pub(crate) plain: Vec<u8>,
    /// What TLS has to send, also when it failed.
    pub(crate) answer: Vec<u8>,
}

impl Hearing {
    /// Lets TLS take bytes that were read before it was known whose they are.
    pub(crate) fn again(tls: &mut Tls, heard: &mut [u8]) -> Self {
        with_buffers(|buffers| {
            let taken = tls.take(heard, &mut buffers.plain, &mut buffers.out);
            Self::of(taken.map(Heard::of).map_err(Fault::Tls), buffers)
        })
    }

    fn of(outcome: Result<Heard, Fault>, buffers: &Buffers) -> Self {
        Self { outcome, plain: buffers.plain.clone(), answer: buffers.out.as_slice().to_vec() }
    }
}

/// Reads once from a device.
pub(crate) async fn hear(tls: &mut Tls, device: &mut TcpStream) -> Hearing {
    poll_fn(|cx| poll_hear_once(tls, device, cx)).await
}

/// Reads once from a device that has got no answer to what it sent last, which is acknowledged if
/// nothing more is there yet.
pub(crate) async fn hear_more(tls: &mut Tls, device: &mut TcpStream) -> Hearing {
    let mut acknowledged = false;
    poll_fn(|cx| {
        let polled = poll_hear_once(tls, device, cx);
        if polled.is_pending() && !acknowledged {
            acknowledge(device);
            acknowledged = true;
        }
        polled
    })
    .await
}

fn poll_hear_once(tls: &mut Tls, device: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Hearing> {
    with_buffers(|buffers| {
        let outcome = ready!(buffers.poll_hear(tls, device, cx));
        Poll::Ready(Hearing::of(outcome, buffers))
    })
}

/// Reads once from a socket, behind what is in `bytes` already: how many came, 0 at the end.
pub(crate) async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        with_buffers(|buffers| {
            let len = ready!(buffers.poll_read(0, stream, cx))?;
            bytes.extend_from_slice(&buffers.incoming[..len]);
            Poll::Ready(Ok(len))
        })
    })
    .await
}

/// Sends as much of the bytes as the socket takes now: how much that is. Whoever has a rest must poll for its being sent.
pub(crate) fn send_now(stream: &mut TcpStream, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match Pin::new(stream).poll_write(cx, bytes) {
        Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
        Poll::Ready(written) => written,
        Poll::Pending => Ok(0),
    }
}

/// Sends as much of the bytes as a socket takes that has just been connected: how much that is. The runtime would first have to hear
/// that it can be written to, with all that a wake costs.
pub(crate) fn send_at_once(stream: &TcpStream, bytes: &[u8]) -> usize {
    // What fails here fails again, and is told, where the rest is sent or the answer is read.
    SockRef::from(stream).send(bytes).unwrap_or(0)
}

/// Says good-bye: `words`, which are a close_notify or an alert mostly, then the end of our half; then reads what the peer still
/// sends.
pub(crate) async fn close(words: &[u8], mut stream: TcpStream, within: Duration) {
    end(words, &mut stream, within).await;
    linger(stream, within).await;
}

/// Says good-bye, and does not wait for the peer.
pub(crate) async fn end(words: &[u8], stream: &mut TcpStream, within: Duration) {
    let _ = timeout(within, async {
        stream.write_all(words).await?;
        stream.shutdown().await
    })
    .await;
}

/// A connection's close_notify.
pub(crate) fn good_bye(tls: &mut Tls) -> Vec<u8> {
    say_last(tls, &[])
}

/// Last bytes for a device, encrypted, and the connection's close_notify.
pub(crate) fn say_last(tls: &mut Tls, last: &[u8]) -> Vec<u8> {
    with_buffers(|buffers| {
        if !last.is_empty() {
            // A connection that cannot say this cannot say its close_notify either.
            let _ = tls.encrypt(last, &mut buffers.out);
        }
        tls.close_notify(&mut buffers.out);
        buffers.out.as_slice().to_vec()
    })
}

/// Reads what the peer still sends: to close over unread bytes would reset the connection, and the peer could lose the last
/// alert to that.
pub(crate) async fn linger(mut stream: TcpStream, within: Duration) {
    let read_all = async {
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match poll_fn(|cx| with_buffers(|buffers| buffers.poll_read(0, &mut stream, cx))).await {
                Ok(0) | Err(_) => break,
                Ok(len) => read += len,
            }
        }
    };
    let _ = timeout(within, read_all).await;
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls::{ServerConfig, crypto::aws_lc_rs, server::ResolvesServerCertUsingSni};
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    /// A socket that delays its acknowledgements, its peer, and a TLS connection over it.
    async fn interactive() -> (Tls, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let device = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        SockRef::from(&accepted).set_tcp_quickack(false).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        (Tls::new(Arc::new(config)).unwrap(), accepted, device)
    }

    #[tokio::test]
    async fn what_gets_no_answer_is_acknowledged_at_once_by_hear_more_alone() {
        let quick = |socket: &TcpStream| SockRef::from(socket).tcp_quickack().unwrap();
        let (mut tls, mut accepted, _device) = interactive().await;
        let moment = Duration::from_millis(1);
        assert!(timeout(moment, hear(&mut tls, &mut accepted)).await.is_err());
        assert!(!quick(&accepted));
        assert!(timeout(moment, hear_more(&mut tls, &mut accepted)).await.is_err());
        assert!(quick(&accepted));
    }
}

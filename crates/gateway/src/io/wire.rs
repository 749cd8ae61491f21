//! Moves bytes between TLS and sockets in per-thread buffers, none of which outlives a poll.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use certward_pki::ClientCertificate;
use socket2::SockRef;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::{
    io::{
        socket::acknowledge,
        tls::{INCOMPLETE_MAX, PeerState, SendBuffer, Tls},
    },
    observe::refused_client::reported_by,
};

/// Of one socket read: four full TLS records.
const READ_BYTES_MAX: usize = 64 * 1024;
/// From the peer, after our close.
const LINGER_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        incoming: vec![0; INCOMPLETE_MAX + READ_BYTES_MAX].into(),
        plain: Vec::with_capacity(READ_BYTES_MAX),
        out: SendBuffer::default(),
        amount: Amount::Part,
    });
}

pub(crate) struct Buffers {
    incoming: Box<[u8]>,
    pub(crate) plain: Vec<u8>,
    pub(crate) out: SendBuffer,
    pub(crate) amount: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// Probably everything there was.
    Part,
    /// The buffer is full: there may be more.
    Full,
}

#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("the connection: {0}")]
    Socket(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadState {
    More,
    /// It ended, perhaps without close_notify: many devices send none, and MQTT's framing reveals
    /// truncation.
    End,
}

impl ReadState {
    fn of(peer: PeerState) -> Self {
        match peer {
            PeerState::Open => Self::More,
            PeerState::Closed => Self::End,
        }
    }
}

/// Lends the thread's buffers, emptied. For one poll, not across an await, not nested.
pub(crate) fn with_buffers<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.plain.clear();
        buffers.out.clear();
        work(buffers)
    })
}

impl Buffers {
    /// Reads once into `incoming` at `at`; 0 at the end.
    fn poll_read(
        &mut self,
        at: usize,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut fresh = ReadBuf::new(&mut self.incoming[at..at + READ_BYTES_MAX]);
        ready!(Pin::new(stream).poll_read(cx, &mut fresh))?;
        self.amount = if fresh.remaining() == 0 { Amount::Full } else { Amount::Part };
        Poll::Ready(Ok(fresh.filled().len()))
    }

    /// Reads once from a device: plaintext goes to `plain`, TLS answers to `out`, also on error.
    pub(crate) fn poll_decrypt(
        &mut self,
        tls: &mut Tls,
        device: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReadState, Fault>> {
        let before = tls.incomplete().len();
        let end = before + ready!(self.poll_read(before, device, cx))?;
        if end == before {
            return Poll::Ready(Ok(ReadState::End));
        }
        self.incoming[..before].copy_from_slice(tls.incomplete());
        let taken = tls.take(&mut self.incoming[..end], &mut self.plain, &mut self.out)?;
        Poll::Ready(Ok(ReadState::of(taken)))
    }

    /// What [`Buffers::poll_encrypt`] has read.
    pub(crate) fn read_from_broker(&self, len: usize) -> &[u8] {
        &self.incoming[..len]
    }

    /// Reads once from a broker and encrypts into `out`; 0 at the end.
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

/// One read from a device, in its own buffers: for the start of a connection.
pub(crate) struct DeviceRead {
    pub(crate) outcome: Result<ReadState, Fault>,
    pub(crate) plain: Vec<u8>,
    /// Also on error.
    pub(crate) answer: Vec<u8>,
    /// On error, if it is about the client's certificate.
    pub(crate) refused: Option<Box<ClientCertificate>>,
}

impl DeviceRead {
    /// Feeds TLS bytes read before the deployment was known.
    pub(crate) fn decrypt(tls: &mut Tls, bytes: &mut [u8]) -> Self {
        with_buffers(|buffers| {
            let taken = tls.take(bytes, &mut buffers.plain, &mut buffers.out);
            Self::of(taken.map(ReadState::of).map_err(Fault::Tls), buffers)
        })
    }

    fn of(outcome: Result<ReadState, Fault>, buffers: &Buffers) -> Self {
        let answer = buffers.out.as_slice().to_vec();
        Self { outcome, plain: buffers.plain.clone(), answer, refused: None }
    }
}

pub(crate) async fn read_device(tls: &mut Tls, device: &mut TcpStream) -> DeviceRead {
    poll_fn(|cx| poll_read_once(tls, device, cx)).await
}

/// From a device that is owed no answer: acknowledges unless more is there.
pub(crate) async fn read_device_acknowledged(tls: &mut Tls, device: &mut TcpStream) -> DeviceRead {
    let mut acknowledged = false;
    poll_fn(|cx| {
        let polled = poll_read_once(tls, device, cx);
        if polled.is_pending() && !acknowledged {
            acknowledge(device);
            acknowledged = true;
        }
        polled
    })
    .await
}

fn poll_read_once(tls: &mut Tls, device: &mut TcpStream, cx: &mut Context<'_>) -> Poll<DeviceRead> {
    with_buffers(|buffers| {
        let (polled, refused) = reported_by(|| buffers.poll_decrypt(tls, device, cx));
        let outcome = ready!(polled);
        Poll::Ready(DeviceRead { refused, ..DeviceRead::of(outcome, buffers) })
    })
}

/// Reads once and appends to `bytes`; 0 at the end.
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

/// Returns how much the socket took. The caller polls for the rest.
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

/// Sends what a fresh socket takes, without a wake for writability first.
pub(crate) fn send_at_once(stream: &TcpStream, bytes: &[u8]) -> usize {
    // Errors are ignored here; the next write or read reports them.
    SockRef::from(stream).send(bytes).unwrap_or(0)
}

/// Sends `bytes`, usually close_notify or an alert, ends our side and reads the peer's rest.
pub(crate) async fn close(bytes: &[u8], mut stream: TcpStream, within: Duration) {
    end(bytes, &mut stream, within).await;
    linger(stream, within).await;
}

/// Sends `bytes` and ends our side without waiting for the peer.
pub(crate) async fn end(bytes: &[u8], stream: &mut TcpStream, within: Duration) {
    let _ = timeout(within, async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    })
    .await;
}

pub(crate) fn close_notify(tls: &mut Tls) -> Vec<u8> {
    last_bytes(tls, &[])
}

/// Encrypts `last` and appends the close_notify.
pub(crate) fn last_bytes(tls: &mut Tls, last: &[u8]) -> Vec<u8> {
    with_buffers(|buffers| {
        if !last.is_empty() {
            // If this fails, so does the close_notify.
            let _ = tls.encrypt(last, &mut buffers.out);
        }
        tls.close_notify(&mut buffers.out);
        buffers.out.as_slice().to_vec()
    })
}

/// Reads the peer's rest: closing over unread bytes resets the connection, and the last alert may
/// be lost.
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

    /// A socket with delayed acknowledgements, its peer, and TLS over it.
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
    async fn only_read_device_acknowledged_acknowledges_at_once() {
        let quick = |socket: &TcpStream| SockRef::from(socket).tcp_quickack().unwrap();
        let (mut tls, mut accepted, _device) = interactive().await;
        let moment = Duration::from_millis(1);
        assert!(timeout(moment, read_device(&mut tls, &mut accepted)).await.is_err());
        assert!(!quick(&accepted));
        assert!(timeout(moment, read_device_acknowledged(&mut tls, &mut accepted)).await.is_err());
        assert!(quick(&accepted));
    }
}

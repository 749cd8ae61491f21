use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a server may send in one session: some 30 replies of at most 4 KiB. lettre reads a line of
/// any length.
const READ_BYTES_MAX: usize = 128 * 1024;

/// A connection to a mail server that reads a bounded number of bytes.
#[derive(Debug)]
pub(crate) struct SmtpStream<S> {
    stream: S,
    peer: SocketAddr,
    /// Read before anything from the server.
    replayed: &'static [u8],
    bytes_left: usize,
}

impl<S> SmtpStream<S> {
    pub(crate) fn new(stream: S, peer: SocketAddr) -> Self {
        Self { stream, peer, replayed: b"", bytes_left: READ_BYTES_MAX }
    }

    /// After STARTTLS a server greets no second time (RFC 3207 §4.2), and lettre waits for it.
    pub(crate) fn greeted(stream: S, peer: SocketAddr) -> Self {
        Self { replayed: b"220 \r\n", ..Self::new(stream, peer) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SmtpStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.replayed.is_empty() {
            let (now, later) = self.replayed.split_at(self.replayed.len().min(buf.remaining()));
            buf.put_slice(now);
            self.replayed = later;
            return Poll::Ready(Ok(()));
        }
        if self.bytes_left == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.bytes_left = self.bytes_left.saturating_sub(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SmtpStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> AsyncTokioStream for SmtpStream<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

//! Bytes between rustls and sockets, without a buffer that outlives a poll: an idle connection holds none.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};

/// What is read from a socket at once: four full TLS records.
const CHUNK: usize = 64 * 1024;
/// What a peer may still send after we have said good-bye before we stop reading it.
const LINGER_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    /// Of the thread and not of the connection. Lent out for one poll, never over an await.
    static FROM_SOCKET: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
    static PLAIN: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// Lends the thread's buffer for what comes from a socket.
pub(crate) fn with_socket_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    FROM_SOCKET.with_borrow_mut(|buffer| work(buffer))
}

/// Lends the thread's buffer for decrypted bytes.
pub(crate) fn with_plain_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    PLAIN.with_borrow_mut(|buffer| work(buffer))
}

/// A socket within one poll, as rustls reads and writes it: «pending» is `WouldBlock`.
pub(crate) struct Polled<'a, 'b> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl<'a, 'b> Polled<'a, 'b> {
    pub(crate) fn new(stream: &'a mut TcpStream, cx: &'a mut Context<'b>) -> Self {
        Self { stream, cx }
    }
}

impl io::Read for Polled<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Writes what rustls has to send until nothing is left.
pub(crate) fn poll_flush(
    tls: &mut ServerConnection,
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Polled::new(stream, cx)) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Reads once from the socket into `reader`, which is rustls' way to take bytes: how many came, 0 at the end.
pub(crate) async fn read_into(
    stream: &mut TcpStream,
    mut reader: impl FnMut(&mut dyn io::Read) -> io::Result<usize>,
) -> io::Result<usize> {
    poll_fn(|cx| match reader(&mut Polled::new(stream, cx)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    })
    .await
}

/// Writes what rustls has to send.
pub(crate) async fn flush(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    poll_fn(|cx| poll_flush(tls, stream, cx)).await
}

/// Says good-bye: close_notify, or the alert that waits, then the end of our half; then reads what the peer still sends.
pub(crate) async fn close(tls: &mut ServerConnection, mut stream: TcpStream, within: Duration) {
    end(tls, &mut stream, within).await;
    linger(stream, within).await;
}

/// Says good-bye, and does not wait for the peer.
pub(crate) async fn end(tls: &mut ServerConnection, stream: &mut TcpStream, within: Duration) {
    tls.send_close_notify();
    let _ = timeout(within, async {
        flush(tls, stream).await?;
        stream.shutdown().await
    })
    .await;
}

/// Sends an alert that no connection holds, then the end of our half; then reads what the peer still sends.
pub(crate) async fn close_with(alert: &[u8], mut stream: TcpStream, within: Duration) {
    let _ = timeout(within, async {
        stream.write_all(alert).await?;
        stream.shutdown().await
    })
    .await;
    linger(stream, within).await;
}

/// Reads what the peer still sends: to close over unread bytes would reset the connection, and the peer could lose the last
/// alert to that.
pub(crate) async fn linger(mut stream: TcpStream, within: Duration) {
    let read_all = async {
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match poll_fn(|cx| poll_discard(&mut stream, cx)).await {
                Ok(0) | Err(_) => break,
                Ok(len) => read += len,
            }
        }
    };
    let _ = timeout(within, read_all).await;
}

fn poll_discard(stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    with_socket_buffer(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

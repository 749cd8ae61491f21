//! Bytes that one side of a relay has not taken yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{io::AsyncWrite, net::TcpStream, time::Instant};

/// Costs a pointer if empty.
#[derive(Debug, Default)]
pub(crate) struct WriteBacklog(Option<Box<Rest>>);

#[derive(Debug)]
struct Rest {
    bytes: Vec<u8>,
    stalled_since: Option<Instant>,
}

impl WriteBacklog {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |rest| &rest.bytes)
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Some(rest) => rest.bytes.extend_from_slice(bytes),
            None => *self = bytes.to_vec().into(),
        }
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.take().map(|rest| rest.bytes).unwrap_or_default()
    }

    /// Since when the peer has taken nothing of the backlog.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.0.as_ref()?.stalled_since
    }

    /// Sends some of it. Ready at once if empty.
    pub(crate) fn poll_send(&mut self, to: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(rest) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let written = Pin::new(to).poll_write(cx, &rest.bytes);
        if written.is_pending() {
            rest.stalled_since.get_or_insert_with(Instant::now);
        }
        match ready!(written)? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent if sent == rest.bytes.len() => self.0 = None,
            sent => {
                rest.bytes.drain(..sent);
                rest.stalled_since = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl From<Vec<u8>> for WriteBacklog {
    fn from(bytes: Vec<u8>) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(Rest { bytes, stalled_since: None })))
    }
}

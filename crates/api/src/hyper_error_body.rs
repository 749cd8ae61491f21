//! Adds a JSON body to hyper's own refusals.
//!
//! A broken request line or too large headers never reach the router: hyper writes a head without a
//! body and ends the connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{error::ErrorBody, refusal_code::RefusalCode};

#[derive(Debug)]
pub(crate) struct WithErrorBody<S> {
    pub(crate) stream: S,
    /// The replacement, and the bytes written of it.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> WithErrorBody<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, instead: None }
    }
}

/// Only hyper's refusals match: router errors are never empty, and to HEAD they declare a length.
const NO_BODY: &str = "\r\ncontent-length: 0\r\n";

fn with_body(written: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(written).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.get(..3)?;
    let status = StatusCode::from_bytes(status.as_bytes()).ok().filter(StatusCode::is_client_error)?;
    let body = serde_json::to_vec(&refusal(status)).ok()?;
    let (before, after) = head.split_once(NO_BODY)?;
    if !after.ends_with("\r\n") {
        return None;
    }
    let length = body.len();
    let head = format!("{before}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{after}");
    Some([head.into_bytes(), body].concat())
}

pub(crate) fn refusal(status: StatusCode) -> ErrorBody {
    let (code, message) = match status {
        StatusCode::URI_TOO_LONG => (RefusalCode::UriTooLong, "The request's path is too long."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            RefusalCode::HeadersTooLarge,
            "The request line and headers, or the length that they declare, are too large.",
        ),
        _ => (RefusalCode::BadRequest, "The request line or the headers are not valid HTTP/1.1."),
    };
    let (code, message) = (code.as_str().to_owned(), message.to_owned());
    ErrorBody { code, message, details: Vec::new(), impact: None }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithErrorBody<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithErrorBody<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_none() {
            this.instead = with_body(bytes).map(|answer| (answer, 0));
        }
        let Some((answer, done)) = &mut this.instead else {
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        };
        // hyper offers the same bytes until the replacement is written.
        while let Some(rest) = answer.get(*done..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Ok(0)),
                written => *done += written,
            }
        }
        this.instead = None;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

    #[tokio::test]
    async fn a_refusal_comes_whole_however_little_is_written_at_once() {
        for room in [1, 7, 4096] {
            let (ours, mut theirs) = tokio::io::duplex(room);
            let writing = tokio::spawn(async move { WithErrorBody::new(ours).write_all(BARE).await });
            let mut text = String::new();
            theirs.read_to_string(&mut text).await.unwrap();
            writing.await.unwrap().unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{text}");
            assert!(head.starts_with("HTTP/1.1 431 ") && head.ends_with("date: now"), "{text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "HEADERS_TOO_LARGE");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        for written in [
            b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n".as_slice(),
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 76\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 21\r\n\r\n\r\ncontent-length: 0\r\n{",
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            b"{\"code\":\"x\"}\xff",
            b"",
        ] {
            assert_eq!(with_body(written), None, "{written:?}");
        }
    }
}

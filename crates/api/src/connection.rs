use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    ApiDeadlines,
    connection_deadline::{AnswerBody, ConnectionDeadline, RequestBody, Watched},
    framing::HadContentLength,
    hyper_error_body::WithErrorBody,
    places::ApiConnectionPlace,
    request_origin::PeerAddress,
    routes,
};

/// Request line and headers; more is 431. Also the read-ahead of a body.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// More is 431.
const HEADERS_MAX: usize = 100;

/// After a refusal the client may still be sending; a close would reset the connection and could
/// destroy the answer. So input is read and dropped.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// After shutdown, for a first request, which may be in flight or unread in the socket.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub(crate) struct ShutdownSignal {
    /// No new request.
    pub(crate) shutdown: CancellationToken,
}

impl ShutdownSignal {
    pub(crate) async fn leave_new(&self) {
        self.shutdown.cancelled().await;
        tokio::time::sleep(FIRST_REQUEST_GRACE).await;
    }
}

/// Serves HTTP/1.1 until a disconnect, a deadline, or `signals` between requests.
pub(crate) async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    deadlines: ApiDeadlines,
    signals: ShutdownSignal,
    place: Arc<ApiConnectionPlace>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = ConnectionDeadline::new(deadlines, place);
    let io = TokioIo::new(WithErrorBody::new(Watched::new(stream, progress.clone())));
    let service = service_fn(|request| answer(request, peer, router.clone(), progress.clone()));
    let mut connection = http1::Builder::new()
        // Replaced by `connection_deadline.rs`.
        .header_read_timeout(None)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    let mut draining = false;
    let mut leave = pin!(async {
        signals.shutdown.cancelled().await;
        if progress.is_new() {
            tokio::time::sleep(FIRST_REQUEST_GRACE).await;
        }
    });
    loop {
        tokio::select! {
            // Input first: a client that has sent a request is not idle.
            biased;
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break note(ended),
            () = progress.overdue() => return,
            () = &mut leave, if !draining => {
                if progress.is_idle() {
                    return;
                }
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    linger(connection.into_parts().io.into_inner().stream.stream).await;
}

/// A disconnect or no HTTP; hyper has answered (400, 431) where possible.
fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended in an error");
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<AnswerBody>, Infallible>> + Send>>;

fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: Router,
    progress: ConnectionDeadline,
) -> Answer {
    progress.request_begins();
    Box::pin(async move {
        progress.turn_comes(routes::is_probe(request.uri().path())).await;
        let mut request = request.map(|body| Body::new(RequestBody::new(body, progress.clone())));
        request.extensions_mut().insert(PeerAddress(peer));
        let is_coded = request.headers().contains_key(header::TRANSFER_ENCODING);
        if is_coded && progress.has_two_ends() {
            request.extensions_mut().insert(HadContentLength);
        }
        let mut response = router.oneshot(request).await?;
        // The rest of the body follows; after a coded one it could be a request (`heads.rs`).
        if is_coded || !progress.body_is_read() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| progress.answer_begins(body)))
    })
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let farewell = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // The connection ends in any case.
    let _over = tokio::time::timeout(LINGER_TIMEOUT, farewell).await;
}

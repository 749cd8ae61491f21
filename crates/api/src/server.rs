use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use certward_lifecycle::Lifecycle;
use prometheus_client::registry::Registry;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ApiDeadlines, ApiError, ApiMetrics, ApiSettings, Reloader,
    api_limit::ApiLimit,
    certificate::HttpsCertificate,
    connection,
    connection::ShutdownSignal,
    context::Context,
    documents::Documents,
    large_bodies::LargeBodies,
    login_guard::LoginGuard,
    openapi,
    places::{ApiConnectionPlace, ConnectionPlaces},
    readiness::Readiness,
    refusal_recorder::RefusalRecorder,
    routes,
    store_trouble::StoreTrouble,
};

/// Registers the metrics `certward_api_…`.
pub fn register_metrics(registry: &mut Registry) -> ApiMetrics {
    ApiMetrics::registered(registry, &openapi::operations())
}

/// The API server.
#[derive(Debug)]
pub struct Api;

/// A bound address with its certificate.
#[derive(Debug)]
pub struct BoundApi {
    settings: ApiSettings,
    listener: std::net::TcpListener,
    address: SocketAddr,
    certificate: Option<Arc<HttpsCertificate>>,
}

impl Api {
    /// Reads the certificate files and binds the address.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn bind(settings: ApiSettings) -> Result<BoundApi, ApiError> {
        Self::bind_or_take(settings, |_| None)
    }

    /// As [`Api::bind`], with a listening socket of `passed`, if any.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn bind_or_take(
        settings: ApiSettings,
        passed: impl FnOnce(SocketAddr) -> Option<std::net::TcpListener>,
    ) -> Result<BoundApi, ApiError> {
        let certificate = settings.tls.clone().map(HttpsCertificate::read).transpose()?.map(Arc::new);
        let listen = |source| ApiError::Listen { address: settings.listen, source };
        let listener = match passed(settings.listen) {
            Some(listener) => listener,
            None => std::net::TcpListener::bind(settings.listen).map_err(listen)?,
        };
        // On a passed one this only sets the backlog.
        SockRef::from(&listener).listen(BACKLOG).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(BoundApi { settings, listener, address, certificate })
    }

    /// Serves until `shutdown`, then finishes requests within [`crate::ApiDeadlines::drain`].
    /// `/metrics` shows `registry`.
    ///
    /// # Errors
    /// [`ApiError::Listen`] when the runtime cannot take the listener.
    pub async fn run(
        bound: BoundApi,
        lifecycle: Lifecycle,
        metrics: ApiMetrics,
        registry: Arc<Registry>,
        shutdown: CancellationToken,
    ) -> Result<(), ApiError> {
        let BoundApi { settings, listener, address, certificate } = bound;
        let listener =
            TcpListener::from_std(listener).map_err(|source| ApiError::Listen { address, source })?;
        let (connections_max, deadlines) = (settings.connections_max, settings.deadlines);
        let context = Arc::new(Context {
            settings,
            lifecycle,
            metrics: metrics.clone(),
            registry,
            login_guard: LoginGuard::default(),
            large_bodies: LargeBodies::default(),
            readiness: Readiness::default(),
            store_trouble: StoreTrouble::default(),
            refusals: RefusalRecorder::default(),
            documents: Documents::new(openapi::openapi(), openapi::page(), openapi::PAGE_STYLE),
            shutdown: shutdown.clone(),
        });
        let router = routes::router(Arc::clone(&context));
        let server = ApiServer {
            router,
            certificate,
            deadlines,
            metrics,
            signals: ShutdownSignal { shutdown },
            cut: CancellationToken::new(),
        };
        let served = CancellationToken::new();
        let serve = async {
            let _ended = served.clone().drop_guard();
            server.run(listener, connections_max).await;
        };
        tokio::join!(serve, context.refusals.run(&context.lifecycle, served.clone()));
        Ok(())
    }
}

/// The standard library's 128 overflow at once in an attack, and a dropped SYN is retried after a
/// second. The system may allow fewer.
const BACKLOG: i32 = 4096;

/// After a failed accept, such as without a descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const EVICTION_LOG_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct ApiServer {
    router: Router,
    certificate: Option<Arc<HttpsCertificate>>,
    deadlines: ApiDeadlines,
    metrics: ApiMetrics,
    signals: ShutdownSignal,
    /// Ends every request.
    cut: CancellationToken,
}

impl ApiServer {
    async fn run(self, listener: TcpListener, connections_max: usize) {
        let places = ConnectionPlaces::new(connections_max);
        let connections = TaskTracker::new();
        {
            // Closed with this block: later clients are refused.
            let mut accepting = pin!(self.accept(listener, places, &connections));
            tokio::select! {
                () = self.signals.shutdown.cancelled() => {}
                () = &mut accepting => {}
            }
        }
        connections.close();
        if tokio::time::timeout(self.deadlines.drain, connections.wait()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "the drain timed out: remaining requests are cut off"
            );
            self.cut.cancel();
            connections.wait().await;
        }
    }

    /// At the limit a new connection evicts a waiting one, or waits in the backlog if all are
    /// served.
    async fn accept(&self, listener: TcpListener, places: ConnectionPlaces, connections: &TaskTracker) {
        let mut failing = false;
        let mut crowding = EvictionLog::default();
        loop {
            places.room().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    failing = false;
                    let (place, gave_way) = places.take(peer.ip());
                    if let Some(address) = gave_way {
                        self.metrics.connections_evicted.inc();
                        self.metrics.limit_hit(ApiLimit::Connections);
                        crowding.note(address, Instant::now());
                    }
                    self.spawn(stream, peer, place, connections);
                }
                Err(error) => {
                    // Once per series, else clients could fill the log.
                    if !failing {
                        tracing::warn!(%error, "connections cannot be accepted");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: ApiConnectionPlace,
        connections: &TaskTracker,
    ) {
        let server = self.clone();
        connections.spawn(async move {
            server.metrics.connections.inc();
            let _counted = OpenConnection(&server.metrics);
            let place = Arc::new(place);
            tokio::select! {
                // Eviction first.
                biased;
                () = place.evicted() => {}
                () = server.cut.cancelled() => {}
                () = server.serve(stream, peer, &place) => {}
            }
        });
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, place: &Arc<ApiConnectionPlace>) {
        // Answers are written whole. Errors show at the first read.
        let _later = stream.set_nodelay(true);
        let (router, signals, place) = (self.router.clone(), self.signals.clone(), Arc::clone(place));
        let Some(certificate) = &self.certificate else {
            return connection::serve(stream, peer, router, self.deadlines, signals, place).await;
        };
        let handshake = TlsAcceptor::from(certificate.current()).accept(stream);
        tokio::select! {
            shaken = tokio::time::timeout(self.deadlines.headers, handshake) => match shaken {
                Ok(Ok(stream)) => connection::serve(stream, peer, router, self.deadlines, signals, place).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            },
            () = self.signals.leave_new() => {}
        }
    }
}

/// Logs evictions once per [`EVICTION_LOG_INTERVAL`].
#[derive(Debug, Default)]
struct EvictionLog {
    logged: Option<Instant>,
    since: u64,
}

impl EvictionLog {
    fn note(&mut self, address: IpAddr, now: Instant) {
        self.since += 1;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < EVICTION_LOG_INTERVAL) {
            return;
        }
        tracing::warn!(
            client.address = %address,
            evicted = self.since,
            "the API is at its connection limit: waiting connections are evicted, the last one from this address"
        );
        (self.logged, self.since) = (Some(now), 0);
    }
}

/// Counts an end after a panic too.
struct OpenConnection<'a>(&'a ApiMetrics);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

impl BoundApi {
    /// With the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A duplicate of the socket for another process.
    ///
    /// # Errors
    /// The system's error.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        self.listener.try_clone().map(OwnedFd::from)
    }

    /// Reloads the certificate (SIGHUP); `None` for plain HTTP. Take it before [`Api::run`].
    pub fn reloader(&self) -> Option<Reloader> {
        self.certificate.clone().map(Reloader)
    }
}

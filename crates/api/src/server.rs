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
    ApiError, ApiMetrics, Deadlines, Reloader, Settings,
    certificate::Certificate,
    connection,
    connection::Signals,
    context::Context,
    login_guard::LoginGuard,
    places::{Place, Places},
    readiness::Readiness,
    routes,
    store_trouble::StoreTrouble,
};

/// The server of the API.
#[derive(Debug)]
pub struct Api;

/// An address taken, certificate files read, nothing accepted yet.
#[derive(Debug)]
pub struct Bound {
    settings: Settings,
    listener: std::net::TcpListener,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

impl Api {
    /// Reads the certificate files and takes the address.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn bind(settings: Settings) -> Result<Bound, ApiError> {
        Self::bind_or_take(settings, |_| None)
    }

    /// As [`Api::bind`], but a listening socket that `passed` has for the address is taken instead.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn bind_or_take(
        settings: Settings,
        passed: impl FnOnce(SocketAddr) -> Option<std::net::TcpListener>,
    ) -> Result<Bound, ApiError> {
        let certificate = settings.tls.clone().map(Certificate::read).transpose()?.map(Arc::new);
        let listen = |source| ApiError::Listen { address: settings.listen, source };
        let listener = match passed(settings.listen) {
            Some(listener) => listener,
            None => std::net::TcpListener::bind(settings.listen).map_err(listen)?,
        };
        // Also of one that was passed: to listen again only sets the length of the queue.
        SockRef::from(&listener).listen(BACKLOG).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Bound { settings, listener, address, certificate })
    }

    /// Serves until `shutdown` is cancelled; then takes no new request, and returns when those under way are
    /// answered or [`crate::Deadlines::drain`] has passed. `registry` is what `/metrics` shows.
    ///
    /// # Errors
    /// [`ApiError::Listen`] when the runtime cannot take the listener.
    pub async fn run(
        bound: Bound,
        lifecycle: Lifecycle,
        metrics: ApiMetrics,
        registry: Arc<Registry>,
        shutdown: CancellationToken,
    ) -> Result<(), ApiError> {
        let Bound { settings, listener, address, certificate } = bound;
        let listener =
            TcpListener::from_std(listener).map_err(|source| ApiError::Listen { address, source })?;
        let (connections_max, deadlines) = (settings.connections_max, settings.deadlines);
        let router = routes::router(Arc::new(Context {
            settings,
            lifecycle,
            metrics: metrics.clone(),
            registry,
            login_guard: LoginGuard::default(),
            readiness: Readiness::default(),
            store_trouble: StoreTrouble::default(),
            shutdown: shutdown.clone(),
        }));
        let server = Server {
            router,
            certificate,
            deadlines,
            metrics,
            signals: Signals { shutdown },
            cut: CancellationToken::new(),
        };
        server.run(listener, connections_max).await;
        Ok(())
    }
}

/// How many connections may come between two looks of the runtime. What the standard library takes (128) is over at once in an
/// attack, and a client whose first packet is dropped sends it again after a second. The system may allow fewer.
const BACKLOG: i32 = 4096;

/// After a failed accept (no file descriptor left, for example) the next is not tried at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the log says that connections give way.
const CROWDED_LOGGED: Duration = Duration::from_secs(60);

/// What the connections of one server share.
#[derive(Clone)]
struct Server {
    router: Router,
    certificate: Option<Arc<Certificate>>,
    deadlines: Deadlines,
    metrics: ApiMetrics,
    signals: Signals,
    /// No request at all any more.
    cut: CancellationToken,
}

impl Server {
    async fn run(self, listener: TcpListener, connections_max: usize) {
        let places = Places::new(connections_max);
        let connections = TaskTracker::new();
        {
            // Gone with this block, and the listener with it: whoever comes later is refused and waits for nobody.
            let mut accepting = pin!(self.accept(listener, places, &connections));
            tokio::select! {
                () = self.signals.shutdown.cancelled() => {}
                () = &mut accepting => {}
            }
        }
        connections.close();
        if tokio::time::timeout(self.deadlines.drain, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests still under way are cut off");
            self.cut.cancel();
            connections.wait().await;
        }
    }

    /// Accepts connections. When all places are taken, one that waits for its client gives way to each new one; when all are
    /// served, new ones wait in the backlog.
    async fn accept(&self, listener: TcpListener, places: Places, connections: &TaskTracker) {
        let mut failing = false;
        let mut crowding = Crowding::default();
        loop {
            places.room().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    failing = false;
                    let (place, gave_way) = places.take(peer.ip());
                    if let Some(address) = gave_way {
                        self.metrics.connections_evicted.inc();
                        crowding.note(address, Instant::now());
                    }
                    self.spawn(stream, peer, place, connections);
                }
                Err(error) => {
                    // Once for each time that it begins: who takes all descriptors shall not fill the log as well.
                    if !failing {
                        tracing::warn!(%error, "connections cannot be accepted");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, place: Place, connections: &TaskTracker) {
        let server = self.clone();
        connections.spawn(async move {
            server.metrics.connections.inc();
            let _counted = Counted(&server.metrics);
            let place = Arc::new(place);
            tokio::select! {
                // Before anything is done for a connection that has given way.
                biased;
                () = place.evicted() => {}
                () = server.cut.cancelled() => {}
                () = server.serve(stream, peer, &place) => {}
            }
        });
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, place: &Arc<Place>) {
        // Answers are written whole; waiting for more to send would only delay them. A failure shows at the first read.
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

/// Says in the log that connections give way, once for each [`CROWDED_LOGGED`].
#[derive(Debug, Default)]
struct Crowding {
    logged: Option<Instant>,
    since: u64,
}

impl Crowding {
    fn note(&mut self, address: IpAddr, now: Instant) {
        self.since += 1;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < CROWDED_LOGGED) {
            return;
        }
        tracing::warn!(
            client.address = %address,
            evicted = self.since,
            "the API has no free connection: those that wait for their client give way, as that of this address"
        );
        (self.logged, self.since) = (Some(now), 0);
    }
}

/// Counts a connection's end however it ends, a panic included.
struct Counted<'a>(&'a ApiMetrics);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

impl Bound {
    /// The address listened on, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same socket once more, for another process to take; it stays open as long as this one does.
    ///
    /// # Errors
    /// What the system says: there may be no file descriptor left.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        self.listener.try_clone().map(OwnedFd::from)
    }

    /// Reads the HTTPS certificate again when told to (SIGHUP); `None` for plain HTTP. Take it before [`Api::run`].
    pub fn reloader(&self) -> Option<Reloader> {
        self.certificate.clone().map(Reloader)
    }
}

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use certward_lifecycle::Lifecycle;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{ApiMetrics, Reloader, Settings, certificate::Certificate};

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

/// Why the API cannot be served.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no certificate in PEM.
    #[error("{} holds no readable PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key in PEM, or an encrypted one.
    #[error("{} holds no readable, unencrypted PEM private key", .0.display())]
    NoKey(PathBuf),
    /// Certificate and key cannot be served together.
    #[error("the certificate {} cannot be served with its key", file.display())]
    Unservable {
        /// The certificate's file.
        file: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

impl Api {
    /// Reads the certificate files and takes the address.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn bind(settings: Settings) -> Result<Bound, ApiError> {
        let certificate = settings.tls.clone().map(Certificate::read).transpose()?.map(Arc::new);
        let listen = |source| ApiError::Listen { address: settings.listen, source };
        let listener = std::net::TcpListener::bind(settings.listen).map_err(listen)?;
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
        let _ = (bound.settings, bound.listener, lifecycle, metrics, registry, shutdown);
        todo!("api")
    }
}

impl Bound {
    /// The address listened on, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the HTTPS certificate again when told to (SIGHUP); `None` for plain HTTP. Take it before [`Api::run`].
    pub fn reloader(&self) -> Option<Reloader> {
        self.certificate.clone().map(Reloader)
    }
}

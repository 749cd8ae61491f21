use std::{net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why the API cannot be served.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's error.
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
        /// The error of rustls.
        source: rustls::Error,
    },
}

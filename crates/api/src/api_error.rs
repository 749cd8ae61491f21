use std::{net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why the API cannot be served.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Binding failed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// An unreadable file.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No PEM certificate in the file.
    #[error("{} holds no readable PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// No PEM private key in the file, or an encrypted one.
    #[error("{} holds no readable, unencrypted PEM private key", .0.display())]
    NoKey(PathBuf),
    /// Certificate and key cannot be served together.
    #[error("the certificate {} cannot be served with its key", file.display())]
    Unservable {
        /// The certificate's file.
        file: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

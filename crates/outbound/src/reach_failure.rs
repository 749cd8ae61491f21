use std::net::IpAddr;

use thiserror::Error;

/// Why a server was not reached, or gave no answer of its protocol. It holds no text of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ReachFailure {
    /// None of the server's addresses is permitted; this is the first.
    #[error("the address {0} is in no permitted network")]
    NotAllowed(IpAddr),
    /// The look-up found no address.
    #[error("the name has no address")]
    NameNotFound,
    /// No TCP connection.
    #[error("no connection")]
    Connect,
    /// The handshake failed, mostly because of the certificate.
    #[error("TLS failed")]
    Tls,
    /// The deadline passed.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended early, or the answer is none of the protocol.
    #[error("the connection was closed, or what answered speaks another protocol")]
    UnexpectedAnswer,
    /// The request cannot be put into the protocol's form; nothing was sent.
    #[error("the request cannot be written")]
    InvalidRequest,
}

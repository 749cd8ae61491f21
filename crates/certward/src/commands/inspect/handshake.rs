//! One handshake with a server, of which everything is recorded and nothing is trusted.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use certward_gateway::{HandshakeRecord, RecordingClient};
use rustls::{
    AlertDescription, ClientConnection, InvalidMessage, NamedGroup, SupportedCipherSuite,
    SupportedProtocolVersion, crypto::CryptoProvider, pki_types::ServerName,
};
use thiserror::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The gateway gives devices as long, by default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How far it came, and what was seen.
pub(super) struct Handshake {
    pub(super) record: HandshakeRecord,
    pub(super) suite: Option<SupportedCipherSuite>,
    /// `None` if it did not come so far.
    pub(super) group: Option<NamedGroup>,
    /// A two-way server refuses a client without certificate: all of its own was seen before.
    pub(super) end: Result<(), HandshakeFailed>,
}

/// Why it failed.
#[derive(Debug, Error)]
pub(super) enum HandshakeFailed {
    #[error("not connected: {0}; --at HOST:PORT names where the listener is")]
    Unconnected(io::Error),
    #[error("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the server ended the connection in the handshake; it may not speak TLS on this port")]
    Closed,
    #[error("the server does not speak TLS on this port")]
    NoTls,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error(
        "the server has nothing for this name (alert unrecognized_name); give another with --server-name NAME"
    )]
    UnrecognizedName,
    #[error("{0}")]
    Tls(rustls::Error),
}

impl From<rustls::Error> for HandshakeFailed {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NoTls,
            rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => Self::UnrecognizedName,
            error => Self::Tls(error),
        }
    }
}

pub(super) fn shake(
    address: SocketAddr,
    name: &ServerName<'static>,
    has_sni: bool,
    version: &'static SupportedProtocolVersion,
    provider: &Arc<CryptoProvider>,
) -> Result<Handshake, HandshakeFailed> {
    let client = RecordingClient::new(Arc::clone(provider));
    let config = client.config(version, None, has_sni)?;
    let mut connection = ClientConnection::new(Arc::new(config), name.clone())?;
    let mut stream =
        TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(HandshakeFailed::Unconnected)?;
    let end = complete(&mut connection, &mut stream);
    Ok(Handshake {
        record: client.record(),
        suite: connection.negotiated_cipher_suite(),
        group: connection.negotiated_key_exchange_group().map(|group| group.name()),
        end,
    })
}

fn complete(connection: &mut ClientConnection, stream: &mut TcpStream) -> Result<(), HandshakeFailed> {
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    while connection.is_handshaking() {
        limit(stream, deadline)?;
        if connection.wants_write() {
            connection.write_tls(stream).map_err(broken)?;
            continue;
        }
        if connection.read_tls(stream).map_err(broken)? == 0 {
            return Err(HandshakeFailed::Closed);
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert, for the server's log.
            let _ = connection.write_tls(stream);
            return Err(error.into());
        }
    }
    connection.send_close_notify();
    while connection.wants_write() {
        limit(stream, deadline)?;
        connection.write_tls(stream).map_err(broken)?;
    }
    Ok(())
}

fn limit(stream: &TcpStream, deadline: Instant) -> Result<(), HandshakeFailed> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(HandshakeFailed::TimedOut);
    }
    let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
    set.map_err(HandshakeFailed::Broken)
}

fn broken(error: io::Error) -> HandshakeFailed {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => HandshakeFailed::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => HandshakeFailed::Closed,
        _ => HandshakeFailed::Broken(error),
    }
}

//! STARTTLS (RFC 3207), required.
//!
//! lettre speaks the plain part over a second descriptor of the socket and is dropped with what it
//! has read: a reply injected before the handshake is never taken for one inside of TLS. What the
//! server offers is asked again inside.

use std::net::SocketAddr;

use lettre::transport::smtp::{client::AsyncSmtpConnection, commands::Starttls, extension::ClientId};
use tokio::net::TcpStream;

use crate::{SendFailure, mail_status::failure_of, smtp_stream::SmtpStream};

/// The socket, ready for the handshake.
pub(crate) async fn starttls(
    tcp: TcpStream,
    peer: SocketAddr,
    hello: &ClientId,
) -> Result<TcpStream, SendFailure> {
    let local = |_| SendFailure::Connect;
    let socket = tcp.into_std().map_err(local)?;
    let plain = socket.try_clone().and_then(TcpStream::from_std).map_err(local)?;
    let stream = Box::new(SmtpStream::new(plain, peer));
    let mut connection =
        AsyncSmtpConnection::connect_with_transport(stream, hello).await.map_err(|e| failure_of(&e))?;
    if !connection.can_starttls() {
        return Err(SendFailure::StarttlsMissing);
    }
    connection.command(Starttls).await.map_err(|e| failure_of(&e))?;
    drop(connection);
    TcpStream::from_std(socket).map_err(local)
}

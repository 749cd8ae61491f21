//! Connections that this node makes: to brokers, and to itself.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::IpBindAddressNoPort},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use crate::io::socket;

/// A socket for a connection to `to`, from an address of this machine or from wherever the system chooses.
pub(crate) fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket::settle(&socket)?;
    if let Some(from) = from {
        // Else the system would take a port for the address alone, and 28,000 connections were all that it makes to all destinations
        // together: so it takes one when it connects, and shares it between different destinations.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(socket)
}

/// Begins to connect; from here on it has its port.
pub(crate) fn begin(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if errno(&error) == Errno::EINPROGRESS => Ok(()),
        result => result,
    }
}

/// Waits for the connection that was begun, and only where there is something to wait for: a program on this machine has answered
/// before the system says that it goes on. Asked again, it says what came of it.
pub(crate) async fn finish(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&to.into()) {
        Ok(()) => TcpStream::from_std(socket.into()),
        Err(error) if errno(&error) == Errno::EISCONN => TcpStream::from_std(socket.into()),
        Err(error) if errno(&error) == Errno::EALREADY => {
            let stream = TcpStream::from_std(socket.into())?;
            stream.writable().await?;
            stream.take_error()?.map_or(Ok(stream), Err)
        }
        Err(error) => Err(error),
    }
}

/// The system's own number of an error.
pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

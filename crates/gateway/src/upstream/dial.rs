//! Connections that this node opens: to brokers, and to itself.

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

/// Opens a socket for `to`. `from`: a local address, else the system chooses.
pub(crate) fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket::settle(&socket)?;
    if let Some(from) = from {
        // Else bind takes a port for all destinations: 28,000 connections in total. So connect
        // takes it, and destinations share ports.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(socket)
}

/// Takes the port.
pub(crate) fn begin(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if errno(&error) == Errno::EINPROGRESS => Ok(()),
        result => result,
    }
}

/// Completes the connect. A local peer has answered before the runtime reports it, so a second
/// connect(2) returns the result at once.
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

pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

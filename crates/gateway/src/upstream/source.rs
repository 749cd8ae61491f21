//! Local addresses to connect from.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use nix::errno::Errno;
use socket2::Socket;
use tokio::net::TcpStream;

use super::{Unreachable, jitter::Jitter};
use crate::upstream::dial::{begin, errno, finish, open};

#[derive(Debug)]
pub(super) struct UpstreamSources {
    v4: Box<[IpAddr]>,
    v6: Box<[IpAddr]>,
}

impl UpstreamSources {
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        let (v4, v6) = addresses.iter().copied().partition::<Vec<_>, _>(IpAddr::is_ipv4);
        Self { v4: v4.into(), v6: v6.into() }
    }

    /// Connects from a random source, or the next with a free port: by default some 28,000 per
    /// upstream address.
    pub(super) async fn connect(&self, to: SocketAddr, jitter: &Jitter) -> Result<TcpStream, Unreachable> {
        let sources = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        if sources.is_empty() {
            let socket = open(to, None).map_err(|error| of_this_machine(error, to))?;
            return connect(socket, to).await.map_err(|error| of_this_machine(error, to));
        }
        let start = jitter.index_below(sources.len());
        let mut exhausted = false;
        let mut unusable = None;
        for n in 0..sources.len() {
            let source = sources[(start + n) % sources.len()];
            let socket = match open(to, Some(source)) {
                Ok(socket) => socket,
                Err(error) if is_out_of_files(&error) => return Err(Unreachable::OutOfFiles(error)),
                Err(error) => {
                    unusable = Some((source, error));
                    continue;
                }
            };
            match connect(socket, to).await {
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => exhausted = true,
                result => return result.map_err(|error| of_this_machine(error, to)),
            }
        }
        Err(match unusable {
            Some((source, error)) if !exhausted => Unreachable::SourceUnusable(source, error),
            _ => Unreachable::SourcePortsExhausted(to),
        })
    }

    /// Sources that cannot be bound now, and why.
    pub(super) fn unusable(&self) -> Vec<(IpAddr, io::Error)> {
        let sources = self.v4.iter().chain(&self.v6).copied();
        // Only the destination's family matters.
        sources.filter_map(|ip| Some((ip, open(SocketAddr::new(ip, 1), Some(ip)).err()?))).collect()
    }
}

async fn connect(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    begin(&socket, to)?;
    finish(socket, to).await
}

/// Separates local faults from the broker's.
fn of_this_machine(error: io::Error, to: SocketAddr) -> Unreachable {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => Unreachable::SourcePortsExhausted(to),
        _ if is_out_of_files(&error) => Unreachable::OutOfFiles(error),
        _ => Unreachable::Refused(error),
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EMFILE | Errno::ENFILE)
}

//! Listening sockets from systemd (sd_listen_fds(3)) or a take-over, matched to the configuration
//! by local address.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// systemd passes one per `ListenStream=`.
const INHERITED_SOCKETS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct InheritedSockets(Vec<InheritedSocket>);

#[derive(Debug)]
struct InheritedSocket {
    listener: TcpListener,
    address: SocketAddr,
    name: String,
}

impl InheritedSockets {
    /// Takes systemd's sockets, and removes its variables: call once, before a second thread.
    /// Unusable descriptors are skipped with a warning.
    pub(crate) fn from_systemd() -> Self {
        // Without our pid, the descriptors may be the parent's.
        let meant = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let count = env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<usize>().ok());
        if !meant || count.is_none_or(|count| count > INHERITED_SOCKETS_MAX) {
            return Self::default();
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut passed = Self::default();
        for index in 0..descriptors.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
            match descriptors.take_tcp_listener(index) {
                Ok(Some(listener)) => passed.add(listener, name),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(socket = name, "a socket passed by systemd cannot be used: {error}")
                }
            }
        }
        passed
    }

    pub(crate) fn add_descriptor(&mut self, descriptor: OwnedFd) {
        self.add(TcpListener::from(descriptor), "taken over");
    }

    fn add(&mut self, listener: TcpListener, name: &str) {
        match (socket_acceptconn(&listener), listener.local_addr()) {
            (Ok(true), Ok(address)) => {
                self.0.push(InheritedSocket { listener, address, name: name.to_owned() })
            }
            _ => tracing::warn!(socket = name, "a passed socket does not listen on a TCP address"),
        }
    }

    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.0.iter().position(|socket| socket.address == address)?;
        let InheritedSocket { listener, name, .. } = self.0.swap_remove(at);
        tracing::info!(%address, socket = name, "the socket was open already");
        Some(listener)
    }

    /// Connections to unmatched sockets are refused from now on.
    pub(crate) fn close_rest(self) {
        for InheritedSocket { address, name, .. } in self.0 {
            tracing::warn!(%address, socket = name, "a passed socket matches no listener of the configuration and is closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_taken_by_its_exact_address_and_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut passed = InheritedSockets::default();
        passed.add_descriptor(listener.into());
        assert!(passed.take(SocketAddr::from(([0, 0, 0, 0], address.port()))).is_none());
        assert_eq!(passed.take(address).unwrap().local_addr().unwrap(), address);
        assert!(passed.take(address).is_none());
    }

    #[test]
    fn what_does_not_listen_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = connected.local_addr().unwrap();
        let mut passed = InheritedSockets::default();
        passed.add_descriptor(connected.into());
        passed.add_descriptor(std::fs::File::open("/dev/null").unwrap().into());
        assert!(passed.take(address).is_none() && passed.0.is_empty());
    }
}

use std::{io, net::SocketAddr};

use thiserror::Error;

use crate::Protocol;

/// Why the gateway does not start, or stops.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// No listener is configured.
    #[error("no gateway listener is configured: add a [[gateway.listener]]")]
    NoListeners,
    /// Binding an address failed.
    #[error("cannot listen on {listen} ({protocol}): {}", advice(.source))]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Its protocol.
        protocol: Protocol,
        /// The system's error.
        source: io::Error,
    },
    /// The runtime refuses a listener.
    #[error("the listener cannot be used: {0}")]
    Listener(#[source] io::Error),
    /// A task panicked; the panic is in the log.
    #[error("a part of the gateway has panicked")]
    Panicked,
}

fn advice(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "stop the other program on that port, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the right CAP_NET_BIND_SERVICE; or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has the address; write 0.0.0.0 for all of IPv4 or [::] for all"
        }
        _ => "check the address in [[gateway.listener]]",
    };
    format!("{error}; {advice}")
}

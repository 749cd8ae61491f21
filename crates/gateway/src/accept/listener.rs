use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol as Transport, SockRef, Socket, Type};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Listener,
    accept::{admission::Doorkeeper, client_address::Arrival},
    context::NodeContext,
    io::socket,
    observe::{log_throttle::LogThrottle, reason::RefusedReason},
    session::connection::serve,
};

/// Accept queue; the system may shorten it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// Out of file descriptors: the wait doubles from 10 ms to 1 s.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

pub(crate) fn bind(listener: &Listener) -> io::Result<std::net::TcpListener> {
    match open(listener.listen) {
        Err(_) if listener.listen.is_ipv6() && !has_ipv6() => match addresses(listener).nth(1) {
            Some(instead) => open(instead),
            None => open(listener.listen),
        },
        result => result,
    }
}

/// The configured address, then the fallback.
pub(crate) fn addresses(listener: &Listener) -> impl Iterator<Item = SocketAddr> + use<> {
    let instead = SocketAddr::from((Ipv4Addr::UNSPECIFIED, listener.listen.port()));
    std::iter::once(listener.listen).chain(listener.or_ipv4.then_some(instead))
}

/// Prepares a listening socket that another process opened.
pub(crate) fn adopt(socket: std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    inherited_settings(&SockRef::from(&socket))?;
    Ok(socket)
}

/// Accepted connections inherit these: fewer system calls for each.
fn inherited_settings(socket: &Socket) -> io::Result<()> {
    socket::settle(socket)?;
    socket.set_nonblocking(true)
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    if address.is_ipv6() {
        // `[::]` includes IPv4 regardless of `net.ipv6.bindv6only`.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    inherited_settings(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

pub(crate) async fn accept(
    context: Arc<NodeContext>,
    listener: Arc<Listener>,
    socket: TcpListener,
    doorkeeper: Arc<Doorkeeper>,
    connections: TaskTracker,
    shutdown: CancellationToken,
) {
    // At the descriptor limit each close admits one and resets the backoff, so the log needs its
    // own throttle.
    let accept_failure_log = LogThrottle::default();
    let mut backoff = BACKOFF_MIN;
    // A bound listener has an address.
    let port = socket.local_addr().map_or(0, |address| address.port());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((client, peer)) => {
                backoff = BACKOFF_MIN;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let probe = context.probes.of(peer, port);
                let header_first = listener.awaits_header_from(peer.ip());
                let entrant = match &probe {
                    Some(_) => None,
                    None => match doorkeeper.enter(peer.ip(), !header_first) {
                        Ok(entrant) => Some(entrant),
                        Err(reason) => {
                            context.metrics.refused(reason);
                            continue;
                        }
                    },
                };
                let listener = Arc::clone(&listener);
                let arrival = Arrival { client, peer, header_first, listener, probe, entrant };
                connections.spawn(serve(Arc::clone(&context), arrival));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if accept_failure_log.now(Instant::now()) {
                    tracing::warn!(listener = %listener.listen, "connections cannot be accepted: {error}");
                }
                context.metrics.refused(RefusedReason::AcceptFailed);
                // The next iteration handles the shutdown.
                let _ = timeout(backoff, shutdown.cancelled()).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// The client gave up before the accept: no backoff.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    #[test]
    fn an_address_that_is_taken_is_an_error() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind(&Listener::shared(any, Protocol::Mqtts)).unwrap();
        let again = Listener::shared(first.local_addr().unwrap(), Protocol::Mqtts);
        assert_eq!(bind(&again).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

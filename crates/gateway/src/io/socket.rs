//! Options of all sockets, to devices and to brokers.

use std::{io, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Detects a vanished idle peer in 3.5 minutes: 120 s and Linux's nine probes. No other deadline
/// covers it.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(120)).with_interval(Duration::from_secs(10));

/// The same with unacknowledged bytes: keep-alive does not probe then, and Linux retransmits for a
/// quarter of an hour. Longer than `Deadlines::stalled`, which the gateway reports itself.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(210);

/// Unsent bytes per peer; the write that crosses the limit is added in full.
///
/// Linux queues up to the maximum of `net.ipv4.tcp_wmem`, usually 4 MiB, even for a peer that reads
/// nothing: 200 of them brought a machine of 24 GiB to `net.ipv4.tcp_mem`, which all connections
/// share. Bytes in flight do not count, so long paths stay fast. Twice the relay's write, so a fast
/// peer never waits for it.
const UNSENT_MAX: u32 = 128 * 1024;

/// Received bytes not read yet. The system adds its overhead; the limit is `net.core.rmem_max`,
/// usually 208 KiB. Unset, a buffer read fast grows to the maximum of `net.ipv4.tcp_rmem`, 6 to 32
/// MiB. A peer 10 ms away still sends 20 MB/s.
const RECEIVED_MAX: usize = 256 * 1024;

/// Accepted connections inherit them from a listener.
pub(crate) fn settle(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    socket.set_recv_buffer_size(RECEIVED_MAX)
}

/// Acknowledges received bytes at once. With Nagle's algorithm a peer holds short writes until
/// then, and Linux delays it by 40 ms. Call before waiting for a peer that is owed no answer.
pub(crate) fn acknowledge(socket: &impl AsFd) {
    // A failure costs the peer only the delay.
    let _ = SockRef::from(socket).set_tcp_quickack(true);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn accepted_connections_inherit_the_listeners_options() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        settle(&listener).unwrap();
        let _device = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_MAX);
    }

    #[test]
    fn a_peer_that_only_does_not_read_is_left_to_the_gateways_deadline() {
        assert!(UNACKNOWLEDGED_MAX > crate::Deadlines::default().stalled);
    }
}

//! What the system is told of every connection, a device's and a broker's.

use std::{io, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// An idle peer that vanished is found out after three minutes and a half: two of silence, and Linux's nine probes. No other deadline
/// watches an idle connection.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(120)).with_interval(Duration::from_secs(10));

/// A peer that vanished while bytes to it are on their way is found out after as long: keep-alive does not ask then, and the system alone
/// would go on sending for a quarter of an hour. Longer than a peer may leave its bytes unread (`Deadlines::stalled`), which the
/// gateway itself sees to and names.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(210);

/// Bytes that wait unsent for one peer; the end of a write that crosses this line comes on top.
///
/// Without a bound Linux lets what waits grow up to the last figure of `net.ipv4.tcp_wmem`, 4 MiB mostly, for a peer that reads nothing, too: 200 such
/// devices brought a machine of 24 GiB to `net.ipv4.tcp_mem`, which all connections share. What is on its way does not count, so a long line is as
/// fast as without it. Twice what the relay writes at once, so that a fast peer never waits for the relay.
const UNSENT_MAX: u32 = 128 * 1024;

/// Bytes that a peer may have sent and certward has not read yet, because the other side takes nothing. The system sees to it that they fit, with
/// what it needs itself, and takes no more than `net.core.rmem_max`, 208 KiB mostly; left to itself it lets a receive buffer grow up to the last figure
/// of `net.ipv4.tcp_rmem`, 6 to 32 MiB, for whoever has once been read fast. A peer 10 ms away still sends 20 MB a second.
const RECEIVED_MAX: usize = 256 * 1024;

/// Tells it of this socket; where that listens, each connection that it accepts inherits it.
pub(crate) fn settle(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    socket.set_recv_buffer_size(RECEIVED_MAX)
}

/// Acknowledges what came without waiting for something to send with it.
///
/// A peer with Nagle's algorithm sends a short write only when all before it is acknowledged, and Linux
/// delays that by 40 ms. To be called before the gateway waits for a peer to which it owes no answer.
pub(crate) fn acknowledge(socket: &impl AsFd) {
    // Failing costs the peer the delay and nothing else.
    let _ = SockRef::from(socket).set_tcp_quickack(true);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_a_listener_is_told_holds_for_what_it_accepts() {
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
    fn a_peer_that_only_does_not_read_is_the_gateways_to_let_go() {
        assert!(UNACKNOWLEDGED_MAX > crate::Deadlines::default().stalled);
    }
}

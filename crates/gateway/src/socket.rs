//! How much the system keeps for a peer that does not take it.

use std::{io, os::fd::AsFd};

use socket2::SockRef;

/// Bytes that wait unsent for one peer; the end of a write that crosses this line comes on top.
///
/// Without a bound Linux lets what waits grow up to the last figure of `net.ipv4.tcp_wmem`, 4 MiB mostly, for a peer that reads nothing, too: 200 such
/// devices brought a machine of 24 GiB to `net.ipv4.tcp_mem`, which all connections share. What is on its way does not count, so a long line is as
/// fast as without it. Twice what the relay writes at once, so that a fast peer never waits for the relay.
const UNSENT_MAX: u32 = 128 * 1024;

/// Bounds what waits in this socket, or, where it listens, in each that it accepts (`TCP_NOTSENT_LOWAT`).
pub(crate) fn bound(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_MAX)
}

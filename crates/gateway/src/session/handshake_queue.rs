//! Whose handshake is computed next: between addresses by turns, however many of one come at once.
//!
//! A key exchange and a signature take a thread for a tenth of a millisecond and more, with RSA for half a millisecond. Of two hundred
//! hellos that come at once from one address, all would be computed before that of a device elsewhere, for a runtime knows only
//! who came first. So all of one address stand in one line, where a few go on at a time, and between these and the next ones a thread
//! looks at everybody else. Second hellos, and what a client's certificates ask for, are computed in line, too.
//!
//! Addresses share lines by a hash that nobody else can compute (stochastic fairness queueing: McKenney, 1990): nothing grows with
//! the number of addresses, and nothing is to be cleaned up. Whoever shares one with an attacker is hardly worse off than without lines.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use certward_store::address_group;

use crate::io::fair_share::FairShare;

const LINES: usize = 256;
/// How many of a line go on at a time, for each thread: for so many a device elsewhere waits. A thread that has nothing but one line to
/// do looks at its sockets once in so many handshakes; and where a whole fleet has one address, behind a translator or a
/// balancer that says nothing of it, so many go on each time that a busy thread has looked at its sockets.
const AT_ONCE: usize = 8;

/// The lines of all addresses.
#[derive(Debug)]
pub(crate) struct HandshakeQueues {
    handshake_queues: Box<[FairShare]>,
    line_of: RandomState,
    of_proofs: FairShare,
}

impl HandshakeQueues {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        let line = || FairShare::new(AT_ONCE * threads);
        let handshake_queues = (0..LINES).map(|_| line()).collect();
        Self { handshake_queues, line_of: RandomState::new(), of_proofs: line() }
    }

    /// Where this node's own proofs stand, whoever else has its address.
    pub(crate) fn of_proofs(&self) -> &FairShare {
        &self.of_proofs
    }

    /// Where devices of this address stand.
    pub(crate) fn of(&self, address: IpAddr) -> &FairShare {
        &self.handshake_queues[self.line_of.hash_one(address_group(address)) as usize % LINES]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_address_has_one_line_and_many_addresses_have_many() {
        let handshake_queues = HandshakeQueues::new(1);
        let line = |address: &str| std::ptr::from_ref(handshake_queues.of(address.parse().unwrap()));
        assert_eq!(line("192.0.2.1"), line("192.0.2.1"));
        assert_eq!(line("2001:db8::1"), line("2001:db8::2"), "one network, so one line");
        let many: HashSet<_> = (0..=255).map(|n| line(&format!("192.0.2.{n}"))).collect();
        // 256 in as many places fill 162 on the average.
        assert!(many.len() > 100, "{}", many.len());
    }

    #[test]
    fn nobody_knows_beforehand_who_shares_a_line() {
        let place = |handshake_queues: &HandshakeQueues, n: u8| {
            handshake_queues.line_of.hash_one(address_group(IpAddr::from([192, 0, 2, n]))) as usize % LINES
        };
        let (one, other) = (HandshakeQueues::new(1), HandshakeQueues::new(1));
        assert!((0..16).any(|n| place(&one, n) != place(&other, n)));
    }
}

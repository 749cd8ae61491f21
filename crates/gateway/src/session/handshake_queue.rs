//! Fair queueing of handshakes by source address.
//!
//! A key exchange and a signature take 0.1 ms and more, with RSA 0.5 ms; 200 hellos of one address
//! would all precede one from elsewhere. So each address queues, a few run at a time, and threads
//! poll sockets in between. Second hellos and client certificates queue too.
//!
//! A keyed hash picks the queue (stochastic fairness queueing: McKenney, 1990): no memory per
//! address. Sharing one with an attacker is hardly worse than no queues.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use certward_store::address_group;

use crate::io::fair_share::FairShare;

const QUEUES: usize = 256;
/// Running handshakes of a queue, per thread: a device elsewhere waits for so many. An idle thread
/// polls sockets once in so many; a fleet behind one address proceeds by so many per poll of a busy
/// thread.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(crate) struct HandshakeQueues {
    handshake_queues: Box<[FairShare]>,
    queue_of: RandomState,
    of_proofs: FairShare,
}

impl HandshakeQueues {
    pub(crate) fn new(threads: usize) -> Self {
        let line = || FairShare::new(AT_ONCE * threads);
        let handshake_queues = (0..QUEUES).map(|_| line()).collect();
        Self { handshake_queues, queue_of: RandomState::new(), of_proofs: line() }
    }

    /// For probes, so that no device delays them.
    pub(crate) fn of_proofs(&self) -> &FairShare {
        &self.of_proofs
    }

    pub(crate) fn of(&self, address: IpAddr) -> &FairShare {
        &self.handshake_queues[self.queue_of.hash_one(address_group(address)) as usize % QUEUES]
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
        // 256 into 256 queues fill 162 on average.
        assert!(many.len() > 100, "{}", many.len());
    }

    #[test]
    fn queue_sharing_is_not_predictable() {
        let place = |handshake_queues: &HandshakeQueues, n: u8| {
            handshake_queues.queue_of.hash_one(address_group(IpAddr::from([192, 0, 2, n]))) as usize % QUEUES
        };
        let (one, other) = (HandshakeQueues::new(1), HandshakeQueues::new(1));
        assert!((0..16).any(|n| place(&one, n) != place(&other, n)));
    }
}

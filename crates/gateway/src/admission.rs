use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections are let in.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    all: Arc<Semaphore>,
    per_address_max: Option<usize>,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    _permit: OwnedSemaphorePermit,
    doorkeeper: Arc<Doorkeeper>,
    address: Option<IpAddr>,
}

impl Doorkeeper {
    pub(crate) fn new(all_max: usize, per_address_max: Option<usize>) -> Self {
        let all = Arc::new(Semaphore::new(all_max.min(Semaphore::MAX_PERMITS)));
        Self { all, per_address_max, per_address: Mutex::default() }
    }

    /// Of how many addresses connections are counted.
    pub(crate) fn addresses(&self) -> usize {
        self.counts().len()
    }

    /// A place for a connection whose device's address is not known yet, or the reason why there is none. It is held to the limit
    /// of an address by [`Admission::of`].
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admission, &'static str> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| "connections_max")?;
        Ok(Admission { _permit: permit, doorkeeper: Arc::clone(self), address: None })
    }
}

impl Admission {
    /// The same for a device of this address, or the reason why there is none.
    pub(crate) fn of(mut self, address: IpAddr) -> Result<Self, &'static str> {
        let Some(max) = self.doorkeeper.per_address_max else { return Ok(self) };
        let address = held_together(address);
        let mut counts = self.doorkeeper.counts();
        let count = counts.entry(address).or_default();
        if *count >= max {
            if *count == 0 {
                counts.remove(&address);
            }
            return Err("connections_per_address_max");
        }
        *count += 1;
        drop(counts);
        self.address = Some(address);
        Ok(self)
    }
}

/// What counts as one address. Of IPv6, it is the 64 bits of the network: whoever has one address there has as many as he likes (RFC 4291
/// §2.5.1, RFC 8981). But for neighbours on the same link, and for IPv4 addresses that a translator has put into 96 bits (RFC 6052 §2.1).
pub(crate) fn held_together(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !(u64::MAX as u128);
    const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
    match address {
        IpAddr::V6(v6) if !v6.is_unicast_link_local() && v6.segments()[..6] != TRANSLATED => {
            Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into()
        }
        single => single,
    }
}

impl Doorkeeper {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(address) = &self.address else { return };
        let mut counts = self.doorkeeper.counts();
        if let Some(count) = counts.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let cases = [
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("fe80::1", "fe80::2", false),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false),
            ("64:ff9b:1::1", "64:ff9b:1::2", true),
        ];
        for (first, second, together) in cases {
            let keeper = Arc::new(Doorkeeper::new(9, Some(1)));
            let admit = |address: &str| keeper.admit()?.of(address.parse().unwrap());
            let first_place = admit(first).unwrap();
            assert_eq!(admit(second).is_err(), together, "{first} {second}");
            drop(first_place);
            assert!(admit(second).is_ok(), "{first} {second}");
            assert_eq!(keeper.addresses(), 0);
        }
    }

    #[test]
    fn no_more_than_the_limit_is_let_in_and_a_place_becomes_free_again() {
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let keeper = Arc::new(Doorkeeper::new(3, Some(2)));
        let admit = |address| keeper.admit()?.of(address);
        let places = [admit(a).unwrap(), admit(a).unwrap()];
        assert_eq!(admit(a).unwrap_err(), "connections_per_address_max");
        let _third = admit(b).unwrap();
        assert_eq!(admit(b).unwrap_err(), "connections_max");
        drop(places);
        assert!(admit(a).is_ok());
        assert!(!keeper.counts().contains_key(&a), "nothing is kept of an address without connections");
    }
}

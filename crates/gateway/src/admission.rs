use std::{
    collections::HashMap,
    net::IpAddr,
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
    address: Option<(Arc<Doorkeeper>, IpAddr)>,
}

impl Doorkeeper {
    pub(crate) fn new(all_max: usize, per_address_max: Option<usize>) -> Self {
        let all = Arc::new(Semaphore::new(all_max.min(Semaphore::MAX_PERMITS)));
        Self { all, per_address_max, per_address: Mutex::default() }
    }

    /// A place for a connection from this address, or the reason why there is none.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, &'static str> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| "connections_max")?;
        let Some(max) = self.per_address_max else {
            return Ok(Admission { _permit: permit, address: None });
        };
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= max {
            if *count == 0 {
                counts.remove(&address);
            }
            return Err("connections_per_address_max");
        }
        *count += 1;
        Ok(Admission { _permit: permit, address: Some((Arc::clone(self), address)) })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some((doorkeeper, address)) = &self.address else { return };
        let mut counts = doorkeeper.counts();
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
    fn no_more_than_the_limit_is_let_in_and_a_place_becomes_free_again() {
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let keeper = Arc::new(Doorkeeper::new(3, Some(2)));
        let places = [keeper.admit(a).unwrap(), keeper.admit(a).unwrap()];
        assert_eq!(keeper.admit(a).unwrap_err(), "connections_per_address_max");
        let _third = keeper.admit(b).unwrap();
        assert_eq!(keeper.admit(b).unwrap_err(), "connections_max");
        drop(places);
        assert!(keeper.admit(a).is_ok());
        assert!(!keeper.counts().contains_key(&a), "nothing is kept of an address without connections");
    }
}

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

/// Each port is given out once.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A free TCP port of the loopback address, for programs that cannot choose one.
///
/// Below the range of outgoing connections, which parallel tests use. Another process may still be
/// faster: callers retry.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        // A fresh `RandomState` is random and separates parallel processes.
        let port = 10_000 + u16::try_from(RandomState::new().build_hasher().finish() % 22_000).unwrap_or(0);
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = given.get_or_insert_default().insert(port);
        if is_new && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10000 and 32000");
}

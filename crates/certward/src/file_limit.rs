//! How many files and sockets the process may have open.
//!
//! Shells and service managers commonly set 1024 and leave the rest for the program to ask for. A connection of a
//! device takes two, so that the devices could otherwise take the store's and the API's away.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as it may be raised without privilege, and says what it is then.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of open files cannot be raised: {e}");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many are kept for everything but devices: the API's connections, the store, listeners, look-ups, proofs.
const KEPT: u64 = 1000;

/// How many devices that leaves room for, two files each; never less than a quarter of all.
pub(crate) fn devices(files: u64) -> usize {
    let free = files.saturating_sub(KEPT).max(files / 2);
    usize::try_from(free / 2).unwrap_or(usize::MAX)
}

/// How many connections of the API that leaves room for beside the devices.
pub(crate) fn api_connections(files: u64) -> usize {
    usize::try_from((files / 4).min(KEPT / 2)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_leave_room_for_the_rest() {
        for (files, room) in [(1024, 256), (4096, 1548), (20_000, 9500), (1_048_576, 523_788)] {
            assert_eq!(devices(files), room, "{files}");
            assert!(2 * devices(files) as u64 + api_connections(files) as u64 + 100 < files);
        }
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let files = raise();
        assert_eq!(Some(files), getrlimit(Resource::Nofile).maximum.or(Some(u64::MAX)));
    }
}

//! The limit of open files.
//!
//! Shells and service managers commonly set 1024, which a program may raise. A device takes two, so
//! devices could starve store and API.

use certward_gateway::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one.
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

/// For everything but devices: API, store, listeners, look-ups, proofs.
const RESERVED_FILES: u64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceLimits {
    /// Finished connections, two files each.
    pub(crate) finished: usize,
    /// Unfinished ones, one file each. More use free places of finished ones.
    pub(crate) unfinished_kept: usize,
}

/// At least half of all files; 1/32 for unfinished connections, up to the gateway's setting.
pub(crate) fn devices(files: u64) -> DeviceLimits {
    let free = files.saturating_sub(RESERVED_FILES).max(files / 2);
    let unfinished_kept = (free / 32).min(Settings::UNFINISHED_KEPT as u64);
    let count = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
    DeviceLimits { finished: count((free - unfinished_kept) / 2), unfinished_kept: count(unfinished_kept) }
}

pub(crate) fn api_connections(files: u64) -> usize {
    usize::try_from((files / 4).min(RESERVED_FILES / 2)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_leave_room_for_the_rest() {
        for (files, finished, unfinished_kept) in
            [(1024, 248, 16), (4096, 1500, 96), (20_000, 9203, 593), (1_048_576, 519_692, 8192)]
        {
            let room = devices(files);
            assert_eq!(room, DeviceLimits { finished, unfinished_kept }, "{files}");
            let of_devices = 2 * room.finished + room.unfinished_kept;
            assert!((of_devices + api_connections(files)) as u64 + 100 < files);
        }
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let files = raise();
        assert_eq!(Some(files), getrlimit(Resource::Nofile).maximum.or(Some(u64::MAX)));
    }
}

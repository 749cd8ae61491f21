//! The certward that runs with a data folder, if any.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// It holds the lock of `node.id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunningProcess {
    pub(super) id: u32,
}

impl RunningProcess {
    /// Reads the kernel's list: to try the lock could stop a certward that starts now.
    pub(super) fn of(data_dir: &Path) -> Option<Self> {
        let file = fs::symlink_metadata(data_dir.join("node.id")).ok()?.ino();
        holder(&fs::read_to_string("/proc/locks").ok()?, file).map(|id| Self { id })
    }
}

/// `1: FLOCK  ADVISORY  WRITE 12345 fe:00:1234567 0 EOF`, see proc(5). A lock of a process in
/// another container has the id 0.
fn holder(locks: &str, file: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", id, place, ..] = words[..] else { return None };
        let of_file = place.rsplit(':').next()?.parse::<u64>().ok()?;
        (of_file == file).then(|| id.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  WRITE 7 fe:00:100 0 EOF\n\
                         2: FLOCK  ADVISORY  WRITE 4242 fe:00:200 0 EOF\n\
                         2: -> FLOCK  ADVISORY  WRITE 4343 fe:00:300 0 EOF\n\
                         3: FLOCK  ADVISORY  READ 9 fe:00:400 0 EOF\n";

    #[test]
    fn the_holder_of_the_lock_is_the_running_certward() {
        for (file, id) in [(200, Some(4242)), (100, None), (300, None), (400, None), (500, None)] {
            assert_eq!(holder(LOCKS, file), id, "{file}");
        }
    }
}

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::run;

/// A small file system, unmounted on drop; only root can mount one.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one of 8 MiB; `None` without the right to.
    pub fn mount() -> Option<Self> {
        let folder = TempDir::with_prefix("certward-small-disk-").unwrap();
        let output = run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"])
            .arg(folder.path()));
        output.status.success().then_some(Self(folder))
    }

    /// A data folder on it, not created yet.
    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let written = fs::write(self.ballast(), vec![0; 16 << 20]);
        assert!(written.is_err(), "16 MiB do not fit");
    }

    /// Removes the filling.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

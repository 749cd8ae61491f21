//! The files of the master keys in the data folder during a rekey.
//!
//! ```text
//! while it is under way   master.key: old   master.key.next: new
//! killed in between       the same          master.key.old-ID: old
//! when it is finished     master.key: new   master.key.old-ID: old
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use certward_store::{MasterKey, MasterKeyId, Rekey, open_own_file};
use rustix::fs::{FlockOperation, flock};

use crate::config::{MASTER_KEY_FILE, NEXT_MASTER_KEY_FILE};

const LOCK: &str = "rekey.lock";

/// Where the key before is kept: backups from before need it.
pub(crate) fn old_file(data_dir: &Path, id: MasterKeyId) -> PathBuf {
    data_dir.join(format!("{MASTER_KEY_FILE}.old-{id}"))
}

/// Puts `master.key.next` in the place of `master.key`, durably, if they are the keys of this
/// finished rekey. Returns where the key before is kept; `None`: there was nothing to do.
///
/// # Errors
/// If a file cannot be used. A second call continues.
pub(crate) fn put_in_place(data_dir: &Path, rekey: &Rekey) -> anyhow::Result<Option<PathBuf>> {
    let (current, next) = (data_dir.join(MASTER_KEY_FILE), data_dir.join(NEXT_MASTER_KEY_FILE));
    if !next.exists() {
        return Ok(None);
    }
    // The command and the running node may both come here.
    let _lock = lock(data_dir)?;
    if !next.exists() || id_in(&current)? != rekey.from || id_in(&next)? != rekey.to {
        return Ok(None);
    }
    let old = old_file(data_dir, rekey.from);
    match fs::hard_link(&current, &old) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if id_in(&old)? != rekey.from {
                bail!("{} holds another key; move it away", old.display());
            }
        }
        Err(error) => return Err(error).with_context(|| old.display().to_string()),
    }
    let sync = || File::open(data_dir)?.sync_all();
    // Never only the new key: the old one has its second name first.
    sync()
        .and_then(|()| fs::rename(&next, &current))
        .and_then(|()| sync())
        .with_context(|| format!("{} in the place of {}", next.display(), current.display()))?;
    Ok(Some(old))
}

fn id_in(path: &Path) -> anyhow::Result<MasterKeyId> {
    Ok(MasterKeyId::of(&MasterKey::read_own(path)?))
}

/// Held for milliseconds.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = open_own_file(&path, &mut options)?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| path.display().to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use certward_store::Timestamp;

    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        rekey: Rekey,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (old, new) = (MasterKey::generate(), MasterKey::generate());
            old.write_new(&folder.path().join("master.key")).unwrap();
            new.write_new(&folder.path().join("master.key.next")).unwrap();
            let at = Some(Timestamp(1));
            let (from, to) = (MasterKeyId::of(&old), MasterKeyId::of(&new));
            let rekey = Rekey { from, to, switched_at: Timestamp(0), resealed_at: at, finished_at: at };
            Self { folder, rekey }
        }

        fn id(&self, name: &str) -> Option<MasterKeyId> {
            let path = self.folder.path().join(name);
            path.exists().then(|| id_in(&path).unwrap())
        }

        fn old(&self) -> String {
            format!("master.key.old-{}", self.rekey.from)
        }

        fn put(&self) -> Option<PathBuf> {
            put_in_place(self.folder.path(), &self.rekey).unwrap()
        }
    }

    #[test]
    fn the_next_key_takes_the_place_and_the_one_before_is_kept() {
        let folder = Folder::new();
        assert_eq!(folder.put(), Some(folder.folder.path().join(folder.old())));
        assert_eq!(folder.id("master.key"), Some(folder.rekey.to));
        assert_eq!(folder.id(&folder.old()), Some(folder.rekey.from));
        assert_eq!(folder.id("master.key.next"), None);
        assert_eq!(folder.put(), None, "there is nothing left to do");
    }

    #[test]
    fn it_is_completed_after_a_kill_in_between() {
        let folder = Folder::new();
        let path = |name: &str| folder.folder.path().join(name);
        fs::hard_link(path("master.key"), path(&folder.old())).unwrap();
        assert!(folder.put().is_some());
        assert_eq!(folder.id("master.key"), Some(folder.rekey.to));
        assert_eq!(folder.id(&folder.old()), Some(folder.rekey.from));
    }

    #[test]
    fn files_of_another_rekey_stay_as_they_are() {
        let folder = Folder::new();
        let other = Rekey { to: MasterKeyId::of(&MasterKey::generate()), ..folder.rekey };
        assert_eq!(put_in_place(folder.folder.path(), &other).unwrap(), None);
        assert_eq!(folder.id("master.key"), Some(folder.rekey.from));
        MasterKey::generate().write_new(&folder.folder.path().join(folder.old())).unwrap();
        assert!(put_in_place(folder.folder.path(), &folder.rekey).is_err(), "no key is overwritten");
        assert_eq!(folder.id("master.key"), Some(folder.rekey.from));
    }
}

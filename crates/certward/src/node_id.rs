use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use anyhow::{Context, bail};
use certward_lifecycle::Entropy;
use certward_store::{NodeId, NotOwn, open_own_file, own_folder, refuse_writable_by_others};
use rustix::fs::{FlockOperation, flock};

use crate::store_remedy;

/// This node's id, kept in the data folder with a lock: two processes of one id would count as one
/// node, and one's proof for the other.
#[derive(Debug)]
pub(crate) struct HeldNodeId {
    pub(crate) id: NodeId,
    lock: File,
}

const FILE: &str = "node.id";

/// 16 of 32 letters are 80 bits: no collisions.
const LENGTH: usize = 16;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl HeldNodeId {
    /// Reads or draws the id; creates a missing folder.
    ///
    /// # Errors
    /// If folder or file are unusable, or another process has the lock.
    pub(crate) fn take(data_dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let (data_dir, folder) = own_folder(data_dir).map_err(explain)?;
        refuse_writable_by_others(&data_dir, &folder).map_err(explain)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = open_own_file(&data_dir.join(FILE), &mut options).map_err(explain)?;
        Self::hold(&data_dir, file, entropy)
    }

    /// With the lock of the previous process, without a gap.
    ///
    /// # Errors
    /// If it is not this folder's lock, or the file is unusable.
    pub(crate) fn adopt(data_dir: &Path, lock: OwnedFd, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let lock = File::from(lock);
        let file = |metadata: Metadata| (metadata.dev(), metadata.ino());
        if lock.metadata().map(file).ok() != path.symlink_metadata().map(file).ok() {
            bail!("the lock that is handed over is not that of {}", path.display());
        }
        Self::hold(data_dir, lock, entropy)
    }

    /// A duplicate; the lock holds as long as either is open.
    pub(crate) fn share_lock(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone().map(OwnedFd::from)
    }

    fn hold(data_dir: &Path, mut file: File, entropy: &dyn Entropy) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let context = || format!("the node's id {}", path.display());
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(
                "another certward process uses the data folder {}; every node needs one of its own (data_dir)",
                data_dir.display()
            ),
            Err(e) => return Err(io::Error::from(e)).with_context(context),
        }
        let mut text = String::new();
        // An adopted file has been read already.
        file.seek(SeekFrom::Start(0)).with_context(context)?;
        (&file).take(1024).read_to_string(&mut text).with_context(context)?;
        let id = if text.trim().is_empty() {
            // After a crash before the write: the id was never used.
            let id = draw(entropy);
            file.write_all(format!("{id}\n").as_bytes()).with_context(context)?;
            file.sync_all().and_then(|()| File::open(data_dir)?.sync_all()).with_context(context)?;
            id
        } else {
            NodeId::parse(text.trim()).map_err(|rule| {
                anyhow::anyhow!("{}: {rule}; remove the file to have a new one drawn", context())
            })?
        };
        Ok(Self { id, lock: file })
    }
}

/// The id of the node that uses the folder, if it has served.
pub(crate) fn look_up(data_dir: &Path) -> Option<NodeId> {
    let file = open_own_file(&data_dir.join(FILE), OpenOptions::new().read(true)).ok()?;
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).ok()?;
    NodeId::parse(text.trim()).ok()
}

fn draw(entropy: &dyn Entropy) -> NodeId {
    let mut random = [0; LENGTH];
    entropy.fill(&mut random);
    let text: String = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    NodeId::parse(&text).expect("lower-case letters and digits are what an id is made of")
}

fn explain(error: NotOwn) -> anyhow::Error {
    match error {
        NotOwn::System { .. } => anyhow::Error::from(error).context("the data folder cannot be used"),
        error => store_remedy::explain(error.into()),
    }
}

/// Creates a missing folder with mode 0700.
///
/// # Errors
/// If it cannot be created, or belongs to another user.
pub(crate) fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    own_folder(path).map(drop).map_err(explain)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use certward_lifecycle::SystemEntropy;

    use super::*;

    #[test]
    fn an_id_is_drawn_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("new");
        let first = HeldNodeId::take(&data_dir, &SystemEntropy).unwrap().id;
        let second = HeldNodeId::take(&data_dir, &SystemEntropy).unwrap().id;
        assert_eq!(first, second);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data_dir.join(FILE)), 0o600);
        assert_eq!(mode(&data_dir), 0o700);
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _held = HeldNodeId::take(folder.path(), &SystemEntropy).unwrap();
        let error = HeldNodeId::take(folder.path(), &SystemEntropy).unwrap_err().to_string();
        assert!(error.contains("another certward process"), "{error}");
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn the_id_passes_on_with_its_lock_and_nobody_gets_in_between() {
        let folder = tempfile::tempdir().unwrap();
        let take = || HeldNodeId::take(folder.path(), &SystemEntropy);
        let first = take().unwrap();
        let adopt = |lock| HeldNodeId::adopt(folder.path(), lock, &SystemEntropy);
        let second = adopt(first.share_lock().unwrap()).unwrap();
        assert_eq!(first.id, second.id);
        drop(first);
        assert!(take().is_err(), "the second one holds it");
        let foreign = File::create(folder.path().join("foreign")).unwrap();
        assert!(adopt(foreign.into()).is_err());
        drop(second);
        assert!(take().is_ok());
    }

    #[test]
    fn a_link_another_users_folder_and_one_that_others_can_write_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (data_dir, victim) = (folder.path().join("data"), folder.path().join("victim"));
        let refused = || HeldNodeId::take(&data_dir, &SystemEntropy).unwrap_err().to_string();
        std::fs::create_dir(&data_dir).unwrap();
        std::fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, data_dir.join(FILE)).unwrap();
        assert!(refused().contains("is a symbolic link"), "{}", refused());
        assert!(std::fs::read(&victim).unwrap().is_empty(), "no id was written there");
        std::fs::remove_file(data_dir.join(FILE)).unwrap();

        std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o775)).unwrap();
        assert!(refused().contains("chmod 700"), "{}", refused());
        std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o700)).unwrap();

        // Only root can change the owner.
        if std::os::unix::fs::chown(&data_dir, Some(47_111), None).is_ok() {
            assert!(refused().contains("belongs to user 47111"), "{}", refused());
            assert!(make_private_folder(&data_dir).is_err());
            std::os::unix::fs::chown(&data_dir, Some(0), None).unwrap();
        }
        assert!(HeldNodeId::take(&data_dir, &SystemEntropy).is_ok());
    }

    #[test]
    fn an_id_that_is_none_is_refused_and_one_cut_short_is_drawn_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "Not An Id\n").unwrap();
        assert!(HeldNodeId::take(folder.path(), &SystemEntropy).is_err());
        std::fs::write(folder.path().join(FILE), "").unwrap();
        assert!(HeldNodeId::take(folder.path(), &SystemEntropy).is_ok());
    }
}

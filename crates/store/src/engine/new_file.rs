//! A new file that is there whole or not at all, also after a kill or a power loss.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::{NotOwn, engine::own_file::open_own_file};

/// Of the unfinished file, beside the finished one.
pub(crate) const PARTIAL: &str = ".partial";

/// Writes `path` durably, mode 0600; an existing file is not replaced.
///
/// # Errors
/// [`NotOwn::System`], of kind `AlreadyExists` if the file exists; [`NotOwn`] for another user's
/// unfinished file.
pub(crate) fn write_new_file(path: &Path, content: &[u8]) -> Result<(), NotOwn> {
    let system = |source| NotOwn::System { path: path.display().to_string(), source };
    if fs::symlink_metadata(path).is_ok() {
        return Err(system(io::ErrorKind::AlreadyExists.into()));
    }
    let partial = partial_of(path);
    // What a killed process left is written again.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = open_own_file(&partial, &mut options)?;
    hold(&file, &partial).map_err(system)?;
    let written = file
        .set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.set_len(0))
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .and_then(|()| rename_new(&partial, path))
        .and_then(|()| sync_folder_of(path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map_err(system)
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    name.into()
}

/// Against a second process, which could also have renamed this very file.
fn hold(file: &File, path: &Path) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another process writes it"));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    if fs::symlink_metadata(path).map(identity).ok() != Some(identity(file.metadata()?)) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(())
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems have no such rename; a link does not replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// For names to survive a power loss.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_no_file_and_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new");
        fs::write(folder.path().join("new.partial"), "cut short, and longer than what follows")
            .expect("left");
        write_new_file(&path, b"whole").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"whole");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn an_existing_file_or_link_and_one_that_another_process_writes_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("there"), folder.path().join("link"));
        fs::write(&path, "first").expect("written");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).expect("a link");
        let writing = File::create(folder.path().join("other.partial")).expect("made");
        writing.try_lock().expect("locked");
        for refused in [&path, &link, &folder.path().join("other")] {
            let error = write_new_file(refused, b"second").expect_err("refused");
            let NotOwn::System { source, .. } = error else { panic!("{error}") };
            assert_eq!(source.kind(), io::ErrorKind::AlreadyExists, "{source}");
        }
        assert_eq!(fs::read(&path).expect("read"), b"first");
        assert!(!folder.path().join("nowhere").exists());
        assert_eq!(fs::metadata(folder.path().join("other.partial")).expect("there").len(), 0);
    }
}

//! Files and folders that must belong to the effective user.
//!
//! Files in the data folder must be regular, the user's and no links, and the folder the user's:
//! otherwise another user could redirect a process, above all root's, to another file. A link to
//! the folder is followed if root's or the user's: operators move data folders to other disks.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno, process::geteuid};
use thiserror::Error;

/// Why a path is refused.
#[derive(Debug, Error)]
pub enum NotOwn {
    /// A system error.
    #[error("{path}: {source}")]
    System {
        /// The path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A symbolic link.
    #[error("{0} is a symbolic link")]
    Link(String),
    /// The wrong kind.
    #[error("{0} is not a regular file")]
    Kind(String),
    /// Another user's.
    #[error("{path} belongs to user {owner}, and this process runs as user {user}")]
    Owner {
        /// The path.
        path: String,
        /// Its owner.
        owner: u32,
        /// The effective user.
        user: u32,
    },
    /// A folder that others can write.
    #[error("{0} can be written by others: run chmod 700 on it")]
    TooOpen(String),
}

impl NotOwn {
    fn system(path: &Path, source: io::Error) -> Self {
        Self::System { path: path.display().to_string(), source }
    }

    fn owner(path: &Path, owner: u32) -> Self {
        Self::Owner { path: path.display().to_string(), owner, user: user() }
    }
}

impl From<NotOwn> for io::Error {
    fn from(error: NotOwn) -> Self {
        match error {
            NotOwn::System { source, .. } => source,
            error => Self::new(ErrorKind::PermissionDenied, error),
        }
    }
}

/// Opens the effective user's folder, made with mode 0700 if missing. Returns its path without
/// links.
pub fn own_folder(path: &Path) -> Result<(PathBuf, File), NotOwn> {
    let system = |error| NotOwn::system(path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(system)?;
    existing_own_folder(path)
}

/// As [`own_folder`], for an existing folder.
pub fn existing_own_folder(path: &Path) -> Result<(PathBuf, File), NotOwn> {
    let system = |error| NotOwn::system(path, error);
    let found = fs::symlink_metadata(path).map_err(system)?;
    if found.is_symlink() && found.uid() != 0 && found.uid() != user() {
        return Err(NotOwn::owner(path, found.uid()));
    }
    // Absolute, so independent of the working folder. A non-link is not resolved again: one put
    // there makes the open fail.
    let path = match path.file_name() {
        Some(name) if !found.is_symlink() => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).canonicalize().map_err(system)?.join(name)
        }
        _ => path.canonicalize().map_err(system)?,
    };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let folder = open(&path, OpenOptions::new().read(true), flags)?;
    match folder.metadata() {
        Ok(metadata) if metadata.uid() == user() => Ok((path, folder)),
        Ok(metadata) => Err(NotOwn::owner(&path, metadata.uid())),
        Err(error) => Err(NotOwn::system(&path, error)),
    }
}

/// Refuses a folder that others can write.
pub fn refuse_writable_by_others(path: &Path, folder: &File) -> Result<(), NotOwn> {
    let metadata = folder.metadata().map_err(|error| NotOwn::system(path, error))?;
    if metadata.mode() & 0o022 != 0 {
        return Err(NotOwn::TooOpen(path.display().to_string()));
    }
    Ok(())
}

/// Opens the effective user's file.
pub fn open_own_file(path: &Path, options: &mut OpenOptions) -> Result<File, NotOwn> {
    // Opening a FIFO must not block.
    let file = open(path, options, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    let metadata = file.metadata().map_err(|error| NotOwn::system(path, error))?;
    own_file(path, &metadata)?;
    Ok(file)
}

/// For files that a library opens by path: in the user's folder others cannot replace them.
pub(crate) fn look_at_own_file(path: &Path) -> Result<(), NotOwn> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(NotOwn::Link(path.display().to_string())),
        Ok(metadata) => own_file(path, &metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(NotOwn::system(path, error)),
    }
}

/// Checks a socket before connecting.
///
/// # Errors
/// [`NotOwn`]; [`NotOwn::System`] with [`ErrorKind::NotFound`] if missing.
pub fn look_at_socket(path: &Path) -> Result<(), NotOwn> {
    let metadata = fs::symlink_metadata(path).map_err(|error| NotOwn::system(path, error))?;
    if metadata.is_symlink() {
        return Err(NotOwn::Link(path.display().to_string()));
    }
    if !metadata.file_type().is_socket() {
        return Err(NotOwn::Kind(path.display().to_string()));
    }
    root_or_user(path, &metadata)
}

/// Refuses other users' files, except root's: for configured paths, which may have links
/// (Kubernetes mounts secrets so).
pub(crate) fn root_or_user(path: &Path, metadata: &Metadata) -> Result<(), NotOwn> {
    match metadata.uid() {
        0 => Ok(()),
        owner if owner == user() => Ok(()),
        owner => Err(NotOwn::owner(path, owner)),
    }
}

fn own_file(path: &Path, metadata: &Metadata) -> Result<(), NotOwn> {
    if !metadata.is_file() {
        return Err(NotOwn::Kind(path.display().to_string()));
    }
    if metadata.uid() != user() {
        return Err(NotOwn::owner(path, metadata.uid()));
    }
    Ok(())
}

fn open(path: &Path, options: &mut OpenOptions, flags: OFlags) -> Result<File, NotOwn> {
    // These flags lack the sign bit.
    options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        match error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            true => NotOwn::Link(path.display().to_string()),
            false => NotOwn::system(path, error),
        }
    })
}

fn user() -> u32 {
    geteuid().as_raw()
}

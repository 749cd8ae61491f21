//! The folder of the embedded store: 0700, its files 0600, and one process at a time; but for one that takes another's place, which
//! opens it beside the other and is then handed the lock.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    NotOwn, StoreError,
    engine::own_file::{look_at_own_file, open_own_file, own_folder},
};

#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Locked while it is open: the system lets go of it also when the process is killed.
    lock: Mutex<Option<File>>,
}

impl DataFolder {
    /// Everything but the request log.
    pub(crate) const STORE: &'static str = "store.db";
    /// The request log.
    pub(crate) const REQUESTS: &'static str = "requests.db";
    const LOCK: &'static str = "lock";

    /// Takes the folder. With `create` it is made, and the databases' files in it; without, a folder with no store in
    /// it is [`StoreError::NotInitialised`], and is left as it is.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        let folder = Self::prepare(path, create)?;
        folder.lock()?;
        folder.make_files()?;
        Ok(folder)
    }

    /// Opens the folder of a store that is there, without taking it: the process that has it is about to hand it over.
    pub(crate) fn open_beside(path: &Path) -> Result<Self, StoreError> {
        let folder = Self::prepare(path, false)?;
        folder.make_files()?;
        Ok(folder)
    }

    fn prepare(path: &Path, create: bool) -> Result<Self, StoreError> {
        let in_folder = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        // A folder that may not be looked into is not one without a store.
        if !create && !path.join(Self::STORE).try_exists().map_err(in_folder)? {
            return Err(StoreError::NotInitialised);
        }
        let (path, folder) = own_folder(path)?;
        let in_folder = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        if folder.metadata().map_err(in_folder)?.permissions().mode() & 0o077 != 0 {
            if !is_own(&path).map_err(in_folder)? {
                let text = "others can read it, and it holds folders: name one that is certward's own";
                return Err(StoreError::Unavailable(format!("{}: {text}", path.display())));
            }
            // Not at the mercy of a umask, nor of an earlier hand.
            folder.set_permissions(Permissions::from_mode(0o700)).map_err(in_folder)?;
        }
        Ok(Self { path, lock: Mutex::default() })
    }

    /// Takes the folder, if nobody has it.
    pub(crate) fn lock(&self) -> Result<(), StoreError> {
        self.hold(private_file(&self.path.join(Self::LOCK))?)
    }

    /// Takes the folder with the lock of the process that had it: there is no moment at which nobody has it.
    pub(crate) fn adopt(&self, lock: OwnedFd) -> Result<(), StoreError> {
        let lock = File::from(lock);
        let file = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let same =
            lock.metadata().map(file).ok() == fs::symlink_metadata(self.path.join(Self::LOCK)).map(file).ok();
        if !same {
            return Err(StoreError::InUse(self.path.display().to_string()));
        }
        self.hold(lock)
    }

    fn hold(&self, lock: File) -> Result<(), StoreError> {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(self.path.display().to_string())),
            Err(TryLockError::Error(error)) => return Err(self.unavailable(error)),
        }
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(())
    }

    /// The lock, to be handed to another process. It holds as long as either process has it open.
    pub(crate) fn share_lock(&self) -> io::Result<Option<OwnedFd>> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().map(|lock| lock.try_clone().map(OwnedFd::from)).transpose()
    }

    fn make_files(&self) -> Result<(), StoreError> {
        // SQLite gives its side files (-wal, -shm) the mode of the database, which it must therefore find.
        for name in [Self::STORE, Self::REQUESTS] {
            let path = self.path.join(name);
            private_file(&path)?;
            look_at_side_files(&path)?;
        }
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.unavailable(error))
    }

    fn unavailable(&self, error: io::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.path.display()))
    }

    /// The address of a database in it, as the driver reads it.
    pub(crate) fn url(&self, name: &str) -> Result<String, StoreError> {
        database_url(&self.path.join(name))
    }

    /// Lets another process in.
    pub(crate) fn release(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The address of a database file that is there, as the driver reads it.
pub(crate) fn database_url(path: &Path) -> Result<String, StoreError> {
    let text = path.to_str().ok_or_else(|| StoreError::unavailable("the data folder's path is not UTF-8"))?;
    Ok(format!("sqlite://{}?mode=rw", percent_encoded(text)))
}

/// Whether a folder may be closed to others: it holds a store, or no folder. Somebody who names `/tmp` or a home must
/// not lock everybody else out of it.
fn is_own(path: &Path) -> io::Result<bool> {
    if path.join(DataFolder::STORE).exists() {
        return Ok(true);
    }
    for entry in fs::read_dir(path)? {
        if entry?.file_type()?.is_dir() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens the file, which is this process's own, making it if it is missing; its mode is 0600 afterwards.
pub(crate) fn private_file(path: &Path) -> Result<File, NotOwn> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = open_own_file(path, &mut options)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|source| NotOwn::System { path: path.display().to_string(), source })?;
    Ok(file)
}

/// Looks at what SQLite opens beside a database.
pub(crate) fn look_at_side_files(database: &Path) -> Result<(), NotOwn> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        look_at_own_file(Path::new(&path))?;
    }
    Ok(())
}

fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

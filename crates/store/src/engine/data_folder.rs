//! The embedded store's folder: mode 0700, files 0600, locked by one process. Its successor opens
//! it unlocked and is handed the lock.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use crate::{
    NotOwn, StoreError,
    engine::own_file::{look_at_own_file, open_own_file, own_folder},
};
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Released by the kernel if the process is killed.
    lock: Mutex<Option<File>>,
}

impl DataFolder {
    pub(crate) const STORE: &'static str = "store.db";
    pub(crate) const REQUESTS: &'static str = "requests.db";
    pub(crate) const LOCK: &'static str = "lock";

    /// `create` makes the folder and its files; otherwise one without a store is unchanged.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        let folder = Self::prepare(path, create)?;
        folder.lock()?;
        folder.make_files()?;
        Ok(folder)
    }

    /// For a successor: without the lock.
    pub(crate) fn open_beside(path: &Path) -> Result<Self, StoreError> {
        let folder = Self::prepare(path, false)?;
        folder.make_files()?;
        Ok(folder)
    }

    /// For a restore: makes and locks the folder, without a store.
    pub(crate) fn lock_new(path: &Path) -> Result<Self, StoreError> {
        let folder = Self::prepare(path, true)?;
        folder.lock()?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn prepare(path: &Path, create: bool) -> Result<Self, StoreError> {
        let in_folder = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
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
            // Independent of the umask and earlier users.
            folder.set_permissions(Permissions::from_mode(0o700)).map_err(in_folder)?;
        }
        Ok(Self { path, lock: Mutex::default() })
    }

    pub(crate) fn lock(&self) -> Result<(), StoreError> {
        self.hold(private_file(&self.path.join(Self::LOCK))?)
    }

    /// Takes the previous process' lock, never free in between.
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
        *self.lock.lock() = Some(lock);
        Ok(())
    }

    /// Held while either process has it open.
    pub(crate) fn share_lock(&self) -> io::Result<Option<OwnedFd>> {
        let lock = self.lock.lock();
        lock.as_ref().map(|lock| lock.try_clone().map(OwnedFd::from)).transpose()
    }

    fn make_files(&self) -> Result<(), StoreError> {
        // SQLite copies the database's mode to -wal and -shm.
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

    pub(crate) fn url(&self, name: &str) -> Result<String, StoreError> {
        database_url(&self.path.join(name))
    }

    pub(crate) fn release(&self) {
        *self.lock.lock() = None;
    }
}

pub(crate) fn database_url(path: &Path) -> Result<String, StoreError> {
    url_with(path, "mode=rw")
}

/// For a file that no process changes.
pub(crate) fn immutable_database_url(path: &Path) -> Result<String, StoreError> {
    url_with(path, "mode=ro&immutable=true")
}

fn url_with(path: &Path, parameters: &str) -> Result<String, StoreError> {
    let text = path
        .to_str()
        .ok_or_else(|| StoreError::Unavailable(format!("{}: the path is not UTF-8", path.display())))?;
    Ok(format!("sqlite://{}?{parameters}", percent_encoded(text)))
}

/// The folder holds a store, or no folders: the mode of a configured `/tmp` or home must not
/// change.
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

pub(crate) fn private_file(path: &Path) -> Result<File, NotOwn> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = open_own_file(path, &mut options)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|source| NotOwn::System { path: path.display().to_string(), source })?;
    Ok(file)
}

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

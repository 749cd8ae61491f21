use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use sqlx::{AnyConnection, Connection};

use crate::{
    BackupError, BackupFile, BackupManifest, NodeId, StoreError, Timestamp,
    backup::file,
    engine::{
        data_folder::{DataFolder, database_url, look_at_side_files},
        own_file::{existing_own_folder, look_at_own_file, open_own_file},
        pool::step,
        schema,
    },
};

/// Copies the store in `folder` to the new file `target`, mode 0600, while another process may use
/// the store: it takes no lock that disturbs one. Durable on return. What was acknowledged before
/// the call is in it.
///
/// # Errors
/// [`BackupError`]: `target` was not made.
pub async fn back_up(
    folder: &Path,
    target: &Path,
    node: Option<&NodeId>,
    now: Timestamp,
) -> Result<BackupFile, BackupError> {
    let store = store_in(folder)?;
    let partial = PartialBackup::make(target)?;
    match write(&store, &partial, node, now).await {
        Ok(()) => partial.publish(),
        Err(error) => {
            partial.remove();
            Err(error)
        }
    }
}

fn store_in(folder: &Path) -> Result<PathBuf, StoreError> {
    let in_folder = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", folder.display()));
    if !folder.join(DataFolder::STORE).try_exists().map_err(in_folder)? {
        return Err(StoreError::NotInitialised);
    }
    let (folder, _) = existing_own_folder(folder)?;
    let store = folder.join(DataFolder::STORE);
    look_at_own_file(&store)?;
    look_at_side_files(&store)?;
    Ok(store)
}

async fn write(
    store: &Path,
    partial: &PartialBackup,
    node: Option<&NodeId>,
    now: Timestamp,
) -> Result<(), BackupError> {
    sqlx::any::install_default_drivers();
    let mut from = AnyConnection::connect(&database_url(store)?).await.map_err(StoreError::from)?;
    let copied = copy(&mut from, &partial.path).await;
    // The last connection to a store removes the WAL.
    let _ = from.close().await;
    copied?;
    let in_file = |error| BackupError::file(&partial.path, error);
    let mut file = partial.file.try_clone().map_err(in_file)?;
    let bytes = file.metadata().map_err(in_file)?.len();
    let mut copy = file::connect(&partial.path).await?;
    let manifest = BackupManifest::read(&mut copy, node, now, bytes).await;
    let _ = copy.close().await;
    file::finish(&mut file, &manifest?).map_err(in_file)
}

/// Reads one snapshot, for however long that takes.
async fn copy(from: &mut AnyConnection, target: &Path) -> Result<(), StoreError> {
    let settings = "PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF;";
    sqlx::raw_sql(settings).execute(&mut *from).await?;
    if step(schema::STORE.version(from)).await? == 0 {
        return Err(StoreError::NotInitialised);
    }
    let target = target.to_str().ok_or_else(|| StoreError::unavailable("the backup's path is not UTF-8"))?;
    sqlx::query("VACUUM INTO $1").bind(target).execute(from).await?;
    Ok(())
}

/// `FILE.partial`, locked, so that what a killed process left can be told from another's work.
struct PartialBackup {
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl PartialBackup {
    fn make(target: &Path) -> Result<Self, BackupError> {
        let in_file = |error| BackupError::file(target, error);
        let is_folder = target.as_os_str().as_bytes().ends_with(b"/");
        let Some(name) = target.file_name().filter(|_| !is_folder) else {
            return Err(in_file(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")));
        };
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).canonicalize().map_err(in_file)?;
        let target = folder.join(name);
        refuse_existing(&target)?;
        let mut name = name.to_owned();
        name.push(".partial");
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = open_own_file(&path, &mut options)?;
        let in_file = |error| BackupError::file(&path, error);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BackupError::InProgress(target.display().to_string()));
            }
            Err(TryLockError::Error(error)) => return Err(in_file(error)),
        }
        // Another process may have finished, and renamed this very file, in between.
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        if fs::symlink_metadata(&path).map(identity).ok() != file.metadata().map(identity).ok() {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        file.set_permissions(Permissions::from_mode(0o600)).map_err(in_file)?;
        // What a killed process left.
        let _ = fs::remove_file(journal_of(&path));
        file.set_len(0).map_err(in_file)?;
        Ok(Self { target, path, file })
    }

    /// Verifies it as a restore does, and gives it its name.
    fn publish(self) -> Result<BackupFile, BackupError> {
        let published = self.rename();
        if published.is_err() {
            self.remove();
        }
        published
    }

    fn rename(&self) -> Result<BackupFile, BackupError> {
        let in_file = |error| BackupError::file(&self.target, error);
        let file = self.file.try_clone().map_err(in_file)?;
        let written = BackupFile::verify(self.target.clone(), file)?;
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(BackupError::Exists(self.target.display().to_string())),
            // Some file systems cannot refuse.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                refuse_existing(&self.target)?;
                fs::rename(&self.path, &self.target).map_err(in_file)?;
            }
            Err(error) => return Err(in_file(error.into())),
        }
        let folder = self.target.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_file)?;
        Ok(written)
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(journal_of(&self.path));
    }
}

fn journal_of(database: &Path) -> PathBuf {
    let mut journal = database.as_os_str().to_owned();
    journal.push("-journal");
    journal.into()
}

fn refuse_existing(target: &Path) -> Result<(), BackupError> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(BackupError::Exists(target.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::file(target, error)),
    }
}

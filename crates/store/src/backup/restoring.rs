use std::{
    fs::{self, File},
    io,
    path::Path,
};

use sqlx::{AnyConnection, Connection};

use crate::{
    BackupError, BackupFile, MasterKey, MasterKeyId, StoreError,
    engine::{
        data_folder::{DataFolder, private_file},
        pool::step,
        schema,
    },
    repo::version,
    sealed::secret,
};

const PARTIAL: &str = "restore.partial";
const MASTER_KEY: &str = "master.key";
/// A killed restore leaves the first two. `master.key…`: the master key's place, its unfinished
/// file, and the keys of before and after a rekey.
const ACCEPTED: [&str; 2] = [DataFolder::LOCK, PARTIAL];
/// Bounds an error's length.
const NAMED: usize = 5;

/// Makes the store of `backup` in `folder`, which is missing or empty but for its master key. With
/// `keep_key` the master key is written beside it, if it is not there. Durable on return.
///
/// # Errors
/// [`BackupError`]. The folder is untouched if `backup`, the master key or the folder are refused;
/// otherwise a second call continues.
pub async fn restore(
    backup: &mut BackupFile,
    folder: &Path,
    master_key: &MasterKey,
    keep_key: bool,
) -> Result<(), BackupError> {
    refuse_filled(folder)?;
    sqlx::any::install_default_drivers();
    let mut conn = backup.connect().await?;
    let checked = check(&mut conn, backup, master_key, &folder.join(MASTER_KEY)).await;
    let _ = conn.close().await;
    checked?;
    let held = DataFolder::lock_new(folder)?;
    // Another process may have come first.
    refuse_filled(held.path())?;
    let written = write(backup, held.path(), master_key, keep_key);
    if written.is_err() {
        let _ = fs::remove_file(held.path().join(PARTIAL));
    }
    written
}

/// Schema and keys, and the key that the store would be opened with if it is there already.
async fn check(
    conn: &mut AnyConnection,
    backup: &BackupFile,
    master_key: &MasterKey,
    key_file: &Path,
) -> Result<(), BackupError> {
    step(schema::STORE.refuse_newer(conn)).await?;
    let check = step(secret::sealed_check(conn)).await?.ok_or(StoreError::NotInitialised)?;
    let fits = |master_key: &MasterKey| {
        secret::verify_check(&master_key.into(), &check).map_err(|error| match error {
            StoreError::WrongMasterKey => BackupError::OtherMasterKey {
                wanted: backup.manifest().master_key.clone(),
                given: MasterKeyId::of(master_key).to_string(),
            },
            error => error.into(),
        })
    };
    fits(master_key)?;
    if fs::symlink_metadata(key_file).is_ok() {
        fits(&MasterKey::read_own(key_file)?)?;
    }
    let keys = master_key.into();
    step(secret::api_secrets_key(conn, &keys)).await?;
    Ok(step(version::open_some_key(conn, &keys)).await?)
}

fn refuse_filled(folder: &Path) -> Result<(), BackupError> {
    let in_folder = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(in_folder(error).into()),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<String>>>().map_err(in_folder)?;
    names.retain(|name| !ACCEPTED.contains(&name.as_str()) && !name.starts_with(MASTER_KEY));
    if names.is_empty() {
        return Ok(());
    }
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let mut found = names.join(", ");
    if more > 0 {
        found.push_str(&format!(" and {more} more"));
    }
    Err(BackupError::NotEmpty { folder: folder.display().to_string(), found })
}

/// Each file gets its name when it is whole, the store last: until then there is none.
fn write(
    backup: &mut BackupFile,
    folder: &Path,
    master_key: &MasterKey,
    keep_key: bool,
) -> Result<(), BackupError> {
    let in_folder = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", folder.display()));
    let partial = folder.join(PARTIAL);
    let mut file = private_file(&partial).map_err(StoreError::from)?;
    file.set_len(0).map_err(in_folder)?;
    backup.copy_database(&mut file)?;
    file.sync_all().map_err(in_folder)?;
    let key = folder.join(MASTER_KEY);
    if keep_key && fs::symlink_metadata(&key).is_err() {
        master_key.write_new(&key)?;
    }
    fs::rename(&partial, folder.join(DataFolder::STORE)).map_err(in_folder)?;
    Ok(File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?)
}

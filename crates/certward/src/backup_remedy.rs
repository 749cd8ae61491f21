use certward_store::{BackupError, MasterKeyError, StoreError};

use crate::store_remedy;

pub(crate) fn explain(error: BackupError) -> anyhow::Error {
    let remedy = match &error {
        BackupError::Store(StoreError::TooNew(_)) => "restore it with that certward, or a later one",
        BackupError::Exists(_) => {
            "it was not changed; name another file, for example with the date in its name, or move it away"
        }
        BackupError::InProgress(_) => "wait for it, or name another file",
        BackupError::File { .. } => "see that its folder exists, has room, and that this user may use both",
        BackupError::NotOwn(_) => "remove it, or name another file",
        BackupError::NotWhole { .. } => "nothing was changed; use another backup",
        BackupError::Format(_) => "restore it with that certward, or a later one",
        BackupError::OtherMasterKey { .. } => {
            "nothing was changed; give the one that was in use when the backup was made: --master-key FILE, \
             master_key_file, CERTWARD_MASTER_KEY, or master.key in the data folder. After a `certward rekey` the \
             one before is in master.key.old-ID, with the ID of the backup's"
        }
        BackupError::MasterKey(MasterKeyError::File { .. }) => {
            "see that this user may read and write the data folder"
        }
        BackupError::MasterKey(_) => "nothing was changed",
        BackupError::NotEmpty { .. } => {
            "nothing was changed; move its files away (keep master.key), or name another data_dir"
        }
        BackupError::Store(_) => match error {
            BackupError::Store(error) => return store_remedy::explain(error),
            error => return error.into(),
        },
    };
    anyhow::anyhow!("{error}; {remedy}")
}

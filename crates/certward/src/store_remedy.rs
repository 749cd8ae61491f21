use certward_store::StoreError;

pub(crate) fn explain(error: StoreError) -> anyhow::Error {
    let remedy = of(&error);
    anyhow::anyhow!("{error}; {remedy}")
}

pub(crate) fn of(error: &StoreError) -> &'static str {
    match error {
        StoreError::InUse(_) => {
            "stop that one first, or let `certward serve --takeover` take its place; another node needs a data folder of its own (data_dir)"
        }
        StoreError::WrongMasterKey => {
            "give the one it was made with: master_key_file, CERTWARD_MASTER_KEY, or master.key in the data folder"
        }
        StoreError::MasterKeyReplaced { .. } => {
            "give that one: from another node, or master.key of the machine where certward rekey was run; docs/rekey.md has the places"
        }
        StoreError::RekeyNeedsKey(_) => {
            "give both until `certward rekey` is done: the one before as the master key, the new one as master.key.next or CERTWARD_MASTER_KEY_NEXT"
        }
        StoreError::RekeyUnderWay => {
            "nothing was written; run `certward rekey`, which completes it, and then this again"
        }
        StoreError::NotInitialised => "run `certward init` with the same configuration",
        StoreError::NotOwn(_) => {
            "run certward as the folder's user (runuser -u USER -- certward …), or give folder and files to this one (chown -R); put a file in the place of a link"
        }
        StoreError::TooOld(_) => {
            "start this certward on it once (`certward serve`), which brings it up to date"
        }
        StoreError::TooNew(_) => "use that certward, or a later one, or a backup from before",
        StoreError::Unavailable(_) => "see that it runs, can be reached and has room",
        StoreError::Corrupt(_) | StoreError::Sealed(_) => "bring back a backup",
    }
}

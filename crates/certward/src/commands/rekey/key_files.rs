//! Where the new key comes from, and where it goes.

use anyhow::{Context, bail};
use certward_store::{MasterKey, MasterKeyId, Rekey};

use crate::{
    cli::RekeyArgs,
    config::{Config, MasterKeySource, MasterKeySources, ReadMasterKeys},
    master_key_files, output,
};

/// The key that is configured as the next one, else the given or a new one, which is written there.
pub(super) fn next(args: &RekeyArgs, config: &Config, keys: &ReadMasterKeys) -> anyhow::Result<MasterKey> {
    let source = config.master_key_sources().next;
    let given = args.new_key_file.as_deref().map(MasterKey::read).transpose()?;
    if let Some(next) = &keys.next {
        return match given {
            Some(given) if MasterKeyId::of(&given) != MasterKeyId::of(next) => bail!(
                "{} holds another key than --new-key-file; nothing was changed. Leave the option out to take that one",
                source.place()
            ),
            _ => Ok(config.read_master_keys()?.next.context("the next master key was removed just now")?),
        };
    }
    let (MasterKeySource::File(path) | MasterKeySource::DataFolder(path)) = &source else {
        // A variable or a credential is there if it is the source.
        bail!("the next master key in {} cannot be read", source.place());
    };
    let next = given.unwrap_or_else(MasterKey::generate);
    next.write_new(path)
        .with_context(|| format!("the next master key cannot be written to {}", path.display()))?;
    output::note(&format!("The new master key is in {}.", path.display()));
    Ok(next)
}

/// Where the keys are now.
pub(super) struct PlacedKey {
    pub(super) place: String,
    pub(super) old: Option<String>,
    /// What the operator must do.
    pub(super) next: Option<String>,
}

/// In the data folder it moves the files; elsewhere it says what is to be done.
pub(super) fn put_in_place(config: &Config, rekey: &Rekey) -> anyhow::Result<PlacedKey> {
    let sources = config.master_key_sources();
    let MasterKeySources { current, next } = &sources;
    if let (MasterKeySource::DataFolder(_), MasterKeySource::DataFolder(_)) = (current, next) {
        master_key_files::put_in_place(&config.data_dir, rekey)
            .context("the store has the new key; run `certward rekey` again to put its file in place")?;
        // The running node may have been first.
        let old = master_key_files::old_file(&config.data_dir, rekey.from);
        let old = old.exists().then(|| old.display().to_string());
        let others =
            "every other node with its keys in its data folder does the same by itself within seconds";
        let next = config.store.is_some().then(|| others.to_owned());
        return Ok(PlacedKey { place: current.place(), old, next });
    }
    let is_replaced = sources.read()?.current;
    if MasterKeyId::of(&is_replaced) == rekey.to {
        return Ok(PlacedKey { place: current.place(), old: None, next: None });
    }
    let how = match current {
        MasterKeySource::Variable(..) => "restart it (or `certward serve --takeover`)",
        MasterKeySource::Credential(_) => "restart the unit, for systemd reads credentials then",
        MasterKeySource::File(_) | MasterKeySource::DataFolder(_) => "it is read within a second",
    };
    let next_step = format!(
        "on every node keep the key before, {}, for old backups, and put the new one, from {}, in its place: {}; {how}.\n\
         Then remove the next one. Until then each node holds both.",
        rekey.from,
        next.place(),
        current.place(),
    );
    Ok(PlacedKey { place: next.place(), old: Some(current.place()), next: Some(next_step) })
}

//! Modes and owners: what must be readable by certward is, and what is secret is by no one else.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use certward_store::{MasterKeyError, existing_own_folder};

use super::check::{Check, CheckKind};
use crate::config::Config;

/// Bits of the group and of others.
const OTHERS: u32 = 0o077;

/// `named`: the configuration's file, for commands to copy.
pub(super) fn check(config: &Config, named: Option<&Path>) -> Vec<Check> {
    if let Some(check) = of_another_user(&config.data_dir, named) {
        // What else the folder holds is that user's too.
        return std::iter::once(check).chain(of_api(config)).collect();
    }
    let mut checks = of_data_folder(&config.data_dir);
    checks.push(of_master_key(config));
    checks.extend(of_api(config));
    checks
}

/// A password of the database is a secret.
pub(super) fn of_configuration(file: &Path, config: &Config) -> Option<Check> {
    let has_password = config.store.as_ref().is_some_and(|store| store.servers().have_password());
    let mode = fs::metadata(file).ok()?.permissions().mode();
    let shown = file.display();
    (has_password && mode & OTHERS != 0).then(|| {
        Check::warning(
            CheckKind::ConfigurationFile,
            format!(
                "{shown} holds the database's password, and others can read it (mode {:04o})",
                mode & 0o7777
            ),
            format!("chmod 600 {shown}"),
        )
    })
}

fn of_another_user(folder: &Path, named: Option<&Path>) -> Option<Check> {
    let owner = fs::metadata(folder).ok()?.uid();
    let error = existing_own_folder(folder).err()?;
    let absolute = |file: &Path| std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let config = named.map_or_else(String::new, |file| format!(" --config {}", absolute(file).display()));
    let fix = format!("run this as its user: runuser -u \"$(id -nu {owner})\" -- certward doctor{config}");
    Some(Check::error(CheckKind::DataFolder, format!("the data folder: {error}"), fix))
}

fn of_data_folder(folder: &Path) -> Vec<Check> {
    let (kind, shown) = (CheckKind::DataFolder, folder.display());
    match fs::metadata(folder) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Check::warning(
                kind,
                format!("the data folder {shown} does not exist yet"),
                "certward init, or name another by data_dir",
            )];
        }
        Err(error) => {
            return vec![Check::error(
                kind,
                format!("the data folder {shown}: {error}"),
                "run this as certward's user",
            )];
        }
    }
    let mut checks = Vec::new();
    for (path, wanted) in std::iter::once((folder.to_owned(), 0o700))
        .chain(["store.db", "requests.db", "snapshot.db", "node.id"].map(|name| (folder.join(name), 0o600)))
    {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let mode = metadata.permissions().mode();
        if mode & OTHERS != 0 {
            let shown = path.display();
            checks.push(Check::warning(
                kind,
                format!("{shown} is open to others (mode {:04o})", mode & 0o7777),
                format!("chmod {wanted:o} {shown}"),
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(kind, format!("the data folder {shown} is certward's alone")));
    }
    checks
}

fn of_master_key(config: &Config) -> Check {
    let (kind, place) = (CheckKind::MasterKeyFile, config.master_key_place());
    match config.read_master_keys() {
        Ok(_) => Check::ok(kind, format!("the master key can be read, by certward alone: {place}")),
        Err(error) => {
            let fix = match error.downcast_ref::<MasterKeyError>() {
                Some(MasterKeyError::TooOpen(path)) => format!("chmod 600 {path}"),
                Some(MasterKeyError::NotOwn(_)) => format!("chown \"$(id -u)\" {place}"),
                Some(MasterKeyError::File { .. }) if !config.data_dir.exists() => {
                    "certward init makes one".to_owned()
                }
                _ => "bring back the file from where you keep its copy, or name it by master_key_file"
                    .to_owned(),
            };
            Check::error(kind, error.to_string(), fix)
        }
    }
}

/// Whether certificate and key fit is another check.
fn of_api(config: &Config) -> Option<Check> {
    let kind = CheckKind::ApiFiles;
    let key = config.api.key.as_ref()?;
    let shown = key.display();
    Some(match fs::metadata(key) {
        Err(error) => Check::error(kind, format!("the API's key {shown}: {error}"), "correct [api] key"),
        Ok(metadata) if metadata.permissions().mode() & OTHERS != 0 => Check::warning(
            kind,
            format!(
                "the API's key {shown} is open to others (mode {:04o})",
                metadata.permissions().mode() & 0o7777
            ),
            format!("chmod 600 {shown}"),
        ),
        Ok(_) => Check::ok(kind, format!("the API's key {shown} is certward's alone")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_read_is_named_with_the_command_that_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let config = Config { data_dir: data.clone(), ..Config::default() };
        assert_eq!(check(&config, None)[0].verdict, Verdict::Warning, "it does not exist yet");
        fs::create_dir(&data).unwrap();
        set_mode(&data, 0o700);
        let key = data.join("master.key");
        fs::write(&key, "0".repeat(64)).unwrap();
        set_mode(&key, 0o644);
        let checks = check(&config, None);
        assert_eq!(checks[0].verdict, Verdict::Ok, "{checks:?}");
        assert_eq!(checks[1].verdict, Verdict::Error);
        assert_eq!(checks[1].fix, Some(format!("chmod 600 {}", key.display())));
        set_mode(&key, 0o600);
        assert!(check(&config, None).iter().all(|check| check.verdict == Verdict::Ok));
        fs::write(data.join("store.db"), "").unwrap();
        set_mode(&data.join("store.db"), 0o640);
        set_mode(&data, 0o755);
        let checks = check(&config, None);
        let fixes: Vec<_> = checks.iter().filter_map(|check| check.fix.clone()).collect();
        let shown = data.display();
        assert_eq!(fixes, [format!("chmod 700 {shown}"), format!("chmod 600 {shown}/store.db")]);
    }

    #[test]
    fn a_configuration_with_a_password_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("certward.toml");
        for (url, mode, is_said) in [
            ("postgres://u:hunter2@db/x", 0o644, true),
            ("postgres://u@db/x?password=hunter2", 0o640, true),
            ("postgres://u:hunter2@db/x", 0o600, false),
            ("postgres://u@db/x", 0o644, false),
        ] {
            let text = format!("store = {url:?}");
            fs::write(&file, &text).unwrap();
            set_mode(&file, mode);
            let source = crate::config::ConfigSource {
                file: Some((file.display().to_string(), text)),
                ..crate::config::ConfigSource::default()
            };
            let said = of_configuration(&file, &source.load().unwrap().config);
            assert_eq!(said.is_some(), is_said, "{url} {mode:o}");
            assert!(!format!("{said:?}").contains("hunter2"));
        }
    }
}

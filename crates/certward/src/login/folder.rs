use std::{
    ffi::OsString,
    fs::{self, DirEntry, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use certward_store::{NotOwn, open_own_file, own_folder, refuse_writable_by_others};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{content::Login, name::LoginName};
use crate::{api_key_pair::ApiKeyPair, base_url::base_url};

/// The folder of the user's logins, `~/.config/certward/logins`.
#[derive(Debug, Clone)]
pub(crate) struct LoginFolder(PathBuf);

/// Far above a URL, a key and a few CAs.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const SUFFIX: &str = ".json";

/// What a login's file has beside the key.
#[derive(Deserialize)]
struct LoginPlace {
    url: String,
    ca: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoginText<'a> {
    url: &'a str,
    api_key: &'a str,
    secret_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a str>,
}

impl LoginFolder {
    /// From `XDG_CONFIG_HOME`, which is ignored if it is relative, and the home folder.
    pub(crate) fn of(config_home: Option<OsString>, home: Option<PathBuf>) -> Option<Self> {
        let config_home = config_home.map(PathBuf::from).filter(|path| path.is_absolute());
        let config = config_home
            .or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(".config")))?;
        Some(Self(config.join("certward/logins")))
    }

    /// `None` if there is none of this name.
    ///
    /// # Errors
    /// For a file that others can read, another user's, or one that is no login.
    pub(crate) fn read(&self, name: &LoginName) -> anyhow::Result<Option<Login>> {
        // Who can write there could put another login in the place of this one.
        if let Ok(folder) = fs::File::open(&self.0) {
            refuse_writable_by_others(&self.0, &folder)
                .map_err(|error| anyhow!("the login {name} cannot be used: {error}"))?;
        }
        let path = self.file(name);
        let file = match open_own_file(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(NotOwn::System { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(anyhow!("the login {name} cannot be used: {error}")),
        };
        let shown = path.display();
        let unreadable = || format!("cannot read the login {name}, {shown}");
        let metadata = file.metadata().with_context(unreadable)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            bail!("the login {name} can be read by others: run chmod 600 {shown}");
        }
        // Full capacity: a growing buffer leaves copies.
        let bytes = metadata.len().min(FILE_BYTES_MAX) as usize;
        let mut text = Zeroizing::new(Vec::with_capacity(bytes + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).with_context(unreadable)?;
        let damaged = || anyhow!("{shown} is no login; `certward login --name {name}` makes it again");
        let key = ApiKeyPair::parse(&text).ok_or_else(damaged)?;
        let place: LoginPlace = serde_json::from_slice(&text).map_err(|_| damaged())?;
        Ok(Some(Login { url: base_url(&place.url).map_err(|_| damaged())?, key, ca: place.ca }))
    }

    /// Replaces one of this name. After a crash the file is the old one or the new one.
    pub(crate) fn write(&self, name: &LoginName, login: &Login) -> anyhow::Result<()> {
        let text = LoginText {
            url: login.url.as_str(),
            api_key: &login.key.api_key,
            secret_key: &login.key.secret_key,
            ca: login.ca.as_deref(),
        };
        // Full capacity: a growing buffer leaves copies.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
        serde_json::to_writer_pretty(&mut *bytes, &text)?;
        bytes.push(b'\n');
        if bytes.len() as u64 > FILE_BYTES_MAX {
            bail!("the login {name} would be larger than 1 MiB; give --ca a file with the CA alone");
        }
        let unusable = || format!("the folder {} cannot be used", self.0.display());
        let (path, folder) = own_folder(&self.0).with_context(unusable)?;
        refuse_writable_by_others(&path, &folder).with_context(unusable)?;
        // No login's name begins with a dot.
        let unfinished = path.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&unfinished);
        let written = write_new(&unfinished, &bytes)
            .and_then(|()| fs::rename(&unfinished, self.file(name)))
            .and_then(|()| folder.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written.with_context(|| format!("cannot write the login {name} to {}", self.0.display()))
    }

    /// Whether there was one.
    pub(crate) fn remove(&self, name: &LoginName) -> anyhow::Result<bool> {
        match fs::remove_file(self.file(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", self.file(name).display())),
        }
    }

    /// In order.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<LoginName>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.0.display())),
        };
        let mut names: Vec<_> = entries.filter_map(|entry| name_of(&entry.ok()?)).collect();
        names.sort();
        Ok(names)
    }

    fn file(&self, name: &LoginName) -> PathBuf {
        self.0.join(format!("{name}{SUFFIX}"))
    }
}

fn name_of(entry: &DirEntry) -> Option<LoginName> {
    entry.file_name().to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

fn write_new(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::symlink};

    use super::*;

    fn login(secret: &str) -> Login {
        let key = ApiKeyPair { api_key: "k".to_owned(), secret_key: Zeroizing::new(secret.to_owned()) };
        Login { url: base_url("https://c.example/public_api/v1").unwrap(), key, ca: Some("PEM\n".to_owned()) }
    }

    fn name(text: &str) -> LoginName {
        text.parse().unwrap()
    }

    #[test]
    fn the_folder_is_that_of_xdg_or_home() {
        for (config_home, home, folder) in [
            (Some("/c"), Some("/h"), Some("/c/certward/logins")),
            (None, Some("/h"), Some("/h/.config/certward/logins")),
            (Some("relative"), Some("/h"), Some("/h/.config/certward/logins")),
            (Some(""), Some("/h"), Some("/h/.config/certward/logins")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let found = LoginFolder::of(config_home.map(OsString::from), home.map(PathBuf::from));
            assert_eq!(found.map(|found| found.0), folder.map(PathBuf::from), "{config_home:?} {home:?}");
        }
    }

    #[test]
    fn a_login_is_written_for_its_user_alone_and_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let folder = LoginFolder::of(None, Some(home.path().to_owned())).unwrap();
        assert!(folder.read(&name("a")).unwrap().is_none());
        assert!(folder.names().unwrap().is_empty());
        folder.write(&name("b"), &login("first")).unwrap();
        folder.write(&name("b"), &login("second")).unwrap();
        folder.write(&name("a"), &login("third")).unwrap();
        let read = folder.read(&name("b")).unwrap().unwrap();
        assert_eq!(read.url.as_str(), "https://c.example/public_api/v1");
        assert_eq!((read.key.api_key.as_str(), read.key.secret_key.as_str()), ("k", "second"));
        assert_eq!(read.ca.as_deref(), Some("PEM\n"));
        assert_eq!(folder.names().unwrap(), [name("a"), name("b")]);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "nothing unfinished is left");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.0), mode(&folder.file(&name("a")))), (0o700, 0o600));
        assert!(folder.remove(&name("b")).unwrap() && !folder.remove(&name("b")).unwrap());
        assert_eq!(folder.names().unwrap(), [name("a")]);
    }

    #[test]
    fn a_login_that_others_can_read_or_that_is_none_is_refused_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let folder = LoginFolder::of(None, Some(home.path().to_owned())).unwrap();
        folder.write(&name("a"), &login("hunter2")).unwrap();
        let path = folder.file(&name("a"));
        let refused = || folder.read(&name("a")).err().unwrap().to_string();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(refused().contains(&format!("chmod 600 {}", path.display())), "{}", refused());
        }
        for text in [
            "hunter2",
            r#"{"apiKey":"k","secretKey":"hunter2"}"#,
            r#"{"apiKey":"k","secretKey":"hunter2","url":"ftp://x"}"#,
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(refused().contains("certward login --name a"), "{}", refused());
            assert!(!refused().contains("hunter2"));
        }
        fs::rename(&path, home.path().join("elsewhere")).unwrap();
        symlink(home.path().join("elsewhere"), &path).unwrap();
        assert!(refused().contains("symbolic link"), "{}", refused());
    }

    #[test]
    fn nothing_is_written_to_a_folder_that_others_can_write() {
        let home = tempfile::tempdir().unwrap();
        let folder = LoginFolder::of(None, Some(home.path().to_owned())).unwrap();
        fs::create_dir_all(&folder.0).unwrap();
        fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).unwrap();
        let error = format!("{:#}", folder.write(&name("a"), &login("s")).unwrap_err());
        assert!(error.contains("chmod 700"), "{error}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }
}

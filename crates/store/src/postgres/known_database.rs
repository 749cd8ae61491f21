//! The database that a node has used, in a file. For refusals after restarts: a node that can only
//! reach a test copy left in `store`, or the old primary after a promotion, must not serve or write
//! outdated data.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::engine::own_file::{open_own_file, own_folder};
use parking_lot::Mutex;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseIdentity {
    pub(crate) identity: String,
    /// The highest seen.
    pub(crate) timeline: i64,
}

#[derive(Debug)]
pub(crate) struct LastSeen {
    path: PathBuf,
    written: Mutex<Option<DatabaseIdentity>>,
    warned: AtomicBool,
}

const EXPLANATION: &str = "# The PostgreSQL database that this node uses. Before you remove this file, read \
                           docs/postgresql.md: \"Another database\".";
const BYTES_MAX: u64 = 4096;

impl LastSeen {
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), written: Mutex::default(), warned: AtomicBool::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An unreadable file is logged and counts as none: devices must still be served.
    pub(crate) fn read(&self) -> Option<DatabaseIdentity> {
        let seen = match read(&self.path) {
            Ok(seen) => Some(seen),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(
                    "cannot read from {} which database this node has used, so it accepts any: {error}",
                    self.path.display()
                );
                None
            }
        };
        self.set_written(seen.clone());
        seen
    }

    /// Writes durably. Failures are logged once, and retried at the next call.
    pub(crate) fn keep(&self, seen: &DatabaseIdentity) {
        if self.written.lock().as_ref() == Some(seen) {
            return;
        }
        match write(&self.path, seen) {
            Ok(()) => self.set_written(Some(seen.clone())),
            Err(error) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "cannot write to {} which database this node uses; after a restart it may accept another: {error}",
                        self.path.display()
                    );
                }
            }
        }
    }

    fn set_written(&self, seen: Option<DatabaseIdentity>) {
        *self.written.lock() = seen;
    }
}

fn read(path: &Path) -> io::Result<DatabaseIdentity> {
    let mut text = String::new();
    io::Read::read_to_string(
        &mut io::Read::take(open_own_file(path, OpenOptions::new().read(true))?, BYTES_MAX),
        &mut text,
    )?;
    let value = |name| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let timeline = value("timeline").and_then(|value| value.parse().ok());
    match (value("identity"), timeline) {
        (Some(identity), Some(timeline)) if !identity.is_empty() => {
            Ok(DatabaseIdentity { identity: identity.to_owned(), timeline })
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, "it is not understood")),
    }
}

/// By a rename: a power loss leaves one or the other.
fn write(path: &Path, seen: &DatabaseIdentity) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    own_folder(folder)?;
    // During a take-over two processes write.
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let text = format!("{EXPLANATION}\nidentity = {}\ntimeline = {}\n", seen.identity, seen.timeline);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = open_own_file(&new, &mut options)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_kept_is_read_again_and_what_is_not_understood_counts_as_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new").join("database.seen");
        let seen = |timeline| DatabaseIdentity { identity: "1/2/public = x".into(), timeline };
        let last_seen = LastSeen::at(&path);
        assert_eq!(last_seen.read(), None);
        for timeline in [1, 7, 7, 3] {
            last_seen.keep(&seen(timeline));
            assert_eq!(LastSeen::at(&path).read(), Some(seen(timeline)));
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path().join("new")).expect("there").count(),
            1,
            "nothing else is left"
        );

        let whole = fs::read_to_string(&path).expect("read");
        let cases = [
            "",
            "identity = a",
            "identity = a\ntimeline = x\n",
            "identity = \ntimeline = 1\n",
            &whole[..whole.len() - 3],
        ];
        for text in cases {
            fs::write(&path, text).expect("written");
            assert_eq!(LastSeen::at(&path).read(), None, "{text:?}");
        }
        let last_seen = LastSeen::at(&path);
        assert_eq!(last_seen.read(), None);
        last_seen.keep(&seen(1));
        assert_eq!(last_seen.read(), Some(seen(1)));
    }

    #[test]
    fn it_is_neither_read_nor_written_through_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("database.seen"), folder.path().join("victim"));
        let seen = |identity: &str| DatabaseIdentity { identity: identity.into(), timeline: 1 };
        LastSeen::at(&victim).keep(&seen("victim"));
        let before = fs::read(&victim).expect("there");
        std::os::unix::fs::symlink(&victim, &path).expect("planted");
        let new = path.with_extension(format!("{}.new", std::process::id()));
        std::os::unix::fs::symlink(&victim, &new).expect("planted");
        assert_eq!(LastSeen::at(&path).read(), None);
        LastSeen::at(&path).keep(&seen("a"));
        assert_eq!(fs::read(&victim).expect("there"), before);
        fs::remove_file(&new).expect("removed");
        LastSeen::at(&path).keep(&seen("a"));
        assert_eq!(LastSeen::at(&path).read(), Some(seen("a")));
        assert_eq!(fs::read(&victim).expect("there"), before, "the link itself was replaced");
    }

    #[test]
    fn a_folder_that_takes_no_file_is_got_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file").join("database.seen");
        fs::write(folder.path().join("file"), "in the way").expect("written");
        let last_seen = LastSeen::at(&path);
        assert_eq!(last_seen.read(), None);
        last_seen.keep(&DatabaseIdentity { identity: "a".into(), timeline: 1 });
        fs::remove_file(folder.path().join("file")).expect("removed");
        last_seen.keep(&DatabaseIdentity { identity: "a".into(), timeline: 1 });
        assert!(last_seen.read().is_some(), "it is tried again");
    }
}

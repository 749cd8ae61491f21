use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::{AnyConnection, Connection};

use crate::{
    BackupError, BackupManifest, StoreError,
    backup::manifest::{ManifestFault, hex},
    engine::data_folder::immutable_database_url,
};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// 64 hexadecimal digits and a line break.
const DIGEST_LINE: u64 = 65;
/// Some thirty tables of some 50 bytes each, with much room.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024;
const BLOCK: usize = 128 * 1024;

/// A backup whose digest was verified.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    sha256: String,
    manifest: BackupManifest,
}

impl BackupFile {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`BackupError::File`], [`BackupError::NotWhole`], [`BackupError::Format`].
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let in_file = |error| BackupError::file(path, error);
        // SQLite needs an absolute path without links.
        let real = path.canonicalize().map_err(in_file)?;
        let file = File::open(&real).map_err(in_file)?;
        if !file.metadata().map_err(in_file)?.is_file() {
            return Err(BackupError::not_whole(path, "it is not a regular file"));
        }
        Self::verify(real, file)
    }

    pub(crate) fn verify(path: PathBuf, mut file: File) -> Result<Self, BackupError> {
        let in_file = |error| BackupError::file(&path, error);
        let not_whole = |what| BackupError::not_whole(&path, what);
        let bytes = file.metadata().map_err(in_file)?.len();
        let start = part(&mut file, 0, bytes.min(MAGIC.len() as u64)).map_err(in_file)?;
        if start != MAGIC {
            return Err(not_whole("it does not begin like one"));
        }
        let covered = bytes.checked_sub(DIGEST_LINE).ok_or_else(|| not_whole("it was cut short"))?;
        let line = part(&mut file, covered, DIGEST_LINE).map_err(in_file)?;
        let sha256 = match line.split_last() {
            Some((b'\n', digits)) if digits.iter().all(u8::is_ascii_hexdigit) => {
                String::from_utf8_lossy(digits).into_owned()
            }
            _ => return Err(not_whole("its last line is no digest, so it was cut short or is another file")),
        };
        if digest(&mut file, covered, None).map_err(in_file)? != sha256 {
            return Err(not_whole("its content does not fit its digest, so it was changed or damaged"));
        }
        let from = covered.saturating_sub(MANIFEST_BYTES_MAX);
        let tail = part(&mut file, from, covered - from).map_err(in_file)?;
        let unreadable = || not_whole("its manifest is unreadable");
        let lines = tail.strip_suffix(b"\n").ok_or_else(unreadable)?;
        let begin = lines.iter().rposition(|byte| *byte == b'\n').ok_or_else(unreadable)?;
        let manifest = BackupManifest::parse(&lines[begin + 1..]).map_err(|fault| match fault {
            ManifestFault::Unreadable => unreadable(),
            ManifestFault::Newer(format) => BackupError::Format(format),
        })?;
        if manifest.database_bytes != from + begin as u64 {
            return Err(not_whole("its manifest names another length"));
        }
        Ok(Self { path, file, bytes, sha256, manifest })
    }

    /// Its path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its last line.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &BackupManifest {
        &self.manifest
    }

    pub(crate) async fn connect(&self) -> Result<AnyConnection, StoreError> {
        connect(&self.path).await
    }

    /// Verified again: the file may have changed since.
    pub(crate) fn copy_database(&mut self, target: &mut File) -> Result<(), BackupError> {
        let copy = Some((target, self.manifest.database_bytes));
        let copied = digest(&mut self.file, self.bytes - DIGEST_LINE, copy);
        if copied.map_err(|error| BackupError::file(&self.path, error))? != self.sha256 {
            return Err(BackupError::not_whole(&self.path, "it has changed since its digest was verified"));
        }
        Ok(())
    }
}

/// Without locks and side files, also in a folder that is read-only.
pub(crate) async fn connect(database: &Path) -> Result<AnyConnection, StoreError> {
    let mut conn = AnyConnection::connect(&immutable_database_url(database)?).await?;
    sqlx::query("PRAGMA trusted_schema = OFF").execute(&mut conn).await?;
    Ok(conn)
}

/// Appends manifest and digest to the database in `file`.
pub(crate) fn finish(file: &mut File, manifest: &BackupManifest) -> io::Result<()> {
    let line = serde_json::to_string(manifest)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(format!("\n{line}\n").as_bytes())?;
    let covered = file.metadata()?.len();
    let digits = digest(file, covered, None)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(format!("{digits}\n").as_bytes())?;
    file.sync_all()
}

fn part(file: &mut File, from: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Of the first `length` bytes, of which the first are copied. A shorter file has another digest.
fn digest(file: &mut File, length: u64, mut copy: Option<(&mut File, u64)>) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut rest = file.take(length);
    let mut block = vec![0; BLOCK];
    let mut digest = Context::new(&SHA256);
    loop {
        let read = match rest.read(&mut block) {
            Ok(0) => return Ok(hex(digest.finish().as_ref())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&block[..read]);
        if let Some((target, left)) = &mut copy {
            let copied = usize::try_from(*left).map_or(read, |left| read.min(left));
            target.write_all(&block[..copied])?;
            *left -= copied as u64;
        }
    }
}

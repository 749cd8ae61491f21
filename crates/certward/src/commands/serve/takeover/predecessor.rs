//! The first process of a take-over: offers its place while it serves.

use std::{
    fs::{self, Permissions},
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use certward_gateway::Gateway;
use tokio::{
    net::UnixListener,
    time::{sleep, timeout},
};

use super::protocol::{self, Passage, Word};

/// For a request, and for sending descriptors.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// For joining and filling the index: 1 s per 100,000 deployments. Until then no change becomes
/// `running`.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Drop it when the process ends otherwise: connections queue in open sockets.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) node_lock: OwnedFd,
    pub(crate) folder_lock: Option<OwnedFd>,
}

/// The socket's file is removed on drop, unless it is another process's.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
    handed_over: bool,
}

impl Door {
    /// `None`, with a warning, for example for a path beyond 107 bytes; then take-over is
    /// impossible.
    pub(crate) fn open(data_dir: &Path) -> Option<Self> {
        let path = protocol::path(data_dir);
        match Self::listen(&path) {
            Ok(listener) => Some(Self { listener, path, handed_over: false }),
            Err(error) => {
                tracing::warn!(socket = %path.display(), "no other process can take over from this one: {error}");
                None
            }
        }
    }

    fn listen(path: &Path) -> io::Result<UnixListener> {
        // The node's lock is held: the file's owner has ended or handed over.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Resolves when a second process is ready; it then waits for [`Word::Done`].
    pub(crate) async fn give(&mut self, offer: &Offer, gateway: Option<&Gateway>) -> Passage {
        loop {
            let passage = match self.listener.accept().await {
                Ok((stream, _)) => Passage::with(stream),
                Err(error) => {
                    tracing::warn!("a take-over connection cannot be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match passage {
                Ok(passage) => match serve(&passage, offer, gateway).await {
                    Ok(true) => {
                        self.handed_over = true;
                        return passage;
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!("take-over failed, this process goes on: {error}"),
                },
                Err(error) => tracing::warn!("take-over refused: {error}"),
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.handed_over {
            // A leftover file is harmless.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn serve(passage: &Passage, offer: &Offer, gateway: Option<&Gateway>) -> io::Result<bool> {
    match timeout(MESSAGE_TIMEOUT, passage.hear()).await?? {
        Some((Word::Ask, _)) => {}
        // A probe for a running process.
        None => return Ok(false),
        Some(_) => return refuse(passage, "it asks for something else").await,
    }
    tracing::info!("another process requests the take-over");
    if let Some(gateway) = gateway {
        gateway.hold_proofs().await;
    }
    let ready = async {
        timeout(MESSAGE_TIMEOUT, offer.hand(passage)).await??;
        match timeout(READY_TIMEOUT, passage.hear()).await {
            Ok(Ok(Some((Word::Ready, _)))) => Ok(true),
            Ok(Ok(None)) => refuse(passage, "it has ended before it was ready").await,
            Ok(Ok(Some(_))) => refuse(passage, "it asks for something else").await,
            Ok(Err(error)) => Err(error),
            Err(_) => refuse(passage, "it does not become ready in time").await,
        }
    };
    let ready = ready.await;
    if let (Some(gateway), false) = (gateway, matches!(ready, Ok(true))) {
        gateway.resume_proofs().await;
    }
    ready
}

async fn refuse(passage: &Passage, why: &str) -> io::Result<bool> {
    // The peer may be gone.
    let _ = timeout(MESSAGE_TIMEOUT, passage.say(Word::Refused)).await;
    Err(io::Error::other(why))
}

impl Offer {
    async fn hand(&self, passage: &Passage) -> io::Result<()> {
        for socket in &self.sockets {
            passage.give(Word::Socket, socket).await?;
        }
        passage.give(Word::NodeLock, &self.node_lock).await?;
        if let Some(lock) = &self.folder_lock {
            passage.give(Word::FolderLock, lock).await?;
        }
        passage.say(Word::EndOfList).await
    }
}

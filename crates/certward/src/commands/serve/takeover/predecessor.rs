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

use super::protocol::{self, Channel, Message};

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
pub(crate) struct TakeoverListener {
    listener: UnixListener,
    path: PathBuf,
    handed_over: bool,
}

impl TakeoverListener {
    /// `None`, with a warning, for example for a path beyond 107 bytes.
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

    /// Resolves when a second process is ready; it then waits for [`Message::Done`].
    pub(crate) async fn hand_over(&mut self, offer: &Offer, gateway: Option<&Gateway>) -> Channel {
        loop {
            let channel = match self.listener.accept().await {
                Ok((stream, _)) => Channel::with(stream),
                Err(error) => {
                    tracing::warn!("a take-over connection cannot be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match channel {
                Ok(channel) => match serve(&channel, offer, gateway).await {
                    Ok(true) => {
                        self.handed_over = true;
                        return channel;
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!("take-over failed, this process goes on: {error}"),
                },
                Err(error) => tracing::warn!("take-over refused: {error}"),
            }
        }
    }
}

impl Drop for TakeoverListener {
    fn drop(&mut self) {
        if !self.handed_over {
            // A leftover file is harmless.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn serve(channel: &Channel, offer: &Offer, gateway: Option<&Gateway>) -> io::Result<bool> {
    match timeout(MESSAGE_TIMEOUT, channel.receive()).await?? {
        Some((Message::Request, _)) => {}
        // A probe for a running process.
        None => return Ok(false),
        Some(_) => return refuse(channel, "it asks for something else").await,
    }
    tracing::info!("another process requests the take-over");
    if let Some(gateway) = gateway {
        gateway.hold_proofs().await;
    }
    let ready = async {
        timeout(MESSAGE_TIMEOUT, offer.send(channel)).await??;
        match timeout(READY_TIMEOUT, channel.receive()).await {
            Ok(Ok(Some((Message::Ready, _)))) => Ok(true),
            Ok(Ok(None)) => refuse(channel, "it has ended before it was ready").await,
            Ok(Ok(Some(_))) => refuse(channel, "it asks for something else").await,
            Ok(Err(error)) => Err(error),
            Err(_) => refuse(channel, "it does not become ready in time").await,
        }
    };
    let ready = ready.await;
    if let (Some(gateway), false) = (gateway, matches!(ready, Ok(true))) {
        gateway.resume_proofs().await;
    }
    ready
}

async fn refuse(channel: &Channel, why: &str) -> io::Result<bool> {
    // The peer may be gone.
    let _ = timeout(MESSAGE_TIMEOUT, channel.send(Message::Refused)).await;
    Err(io::Error::other(why))
}

impl Offer {
    async fn send(&self, channel: &Channel) -> io::Result<()> {
        for socket in &self.sockets {
            channel.send_descriptor(Message::Socket, socket).await?;
        }
        channel.send_descriptor(Message::NodeLock, &self.node_lock).await?;
        if let Some(lock) = &self.folder_lock {
            channel.send_descriptor(Message::FolderLock, lock).await?;
        }
        channel.send(Message::EndOfList).await
    }
}

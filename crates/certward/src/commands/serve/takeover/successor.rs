//! The second process of a take-over.

use std::{io, os::fd::OwnedFd, path::Path, time::Duration};

use anyhow::{Context, bail};
use certward_store::{existing_own_folder, look_at_socket};
use tokio::{net::UnixStream, time::timeout};

use super::protocol::{self, Channel, Message};

/// For holding the proofs, with a report to the store, and sending descriptors.
const OFFER_TIMEOUT: Duration = Duration::from_secs(30);
/// For it to stop accepting: milliseconds, or a second without descriptors.
const DONE_TIMEOUT: Duration = Duration::from_secs(30);

/// The running process, which has received nothing yet.
#[derive(Debug)]
pub(crate) struct Predecessor(Channel);

#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) node_lock: OwnedFd,
    pub(crate) folder_lock: Option<OwnedFd>,
    pub(crate) handover: Handover,
}

/// The rest of the protocol.
#[derive(Debug)]
pub(crate) struct Handover(Channel);

impl Predecessor {
    /// `None` if no process can hand over.
    ///
    /// # Errors
    /// If it belongs to another user.
    pub(crate) async fn find(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = protocol::path(data_dir);
        let connected = async {
            existing_own_folder(data_dir)?;
            look_at_socket(&path)?;
            UnixStream::connect(&path).await
        };
        match connected.await {
            Ok(stream) => {
                let channel =
                    Channel::with(stream).with_context(|| format!("no takeover by {}", path.display()))?;
                Ok(Some(Self(channel)))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(error).with_context(|| format!("no takeover by {}", path.display()))
            }
            Err(error) => {
                tracing::info!(socket = %path.display(), "no process to take over from, starting normally: {error}");
                Ok(None)
            }
        }
    }

    /// Requests its place; `None` if it has ended.
    ///
    /// # Errors
    /// If it refuses.
    pub(crate) async fn request(self) -> anyhow::Result<Option<HandedOver>> {
        match timeout(OFFER_TIMEOUT, self.receive()).await {
            Ok(handed_over) => handed_over.context("the running process does not hand over"),
            Err(_) => bail!("the running process does not hand over in time"),
        }
    }

    async fn receive(self) -> io::Result<Option<HandedOver>> {
        let Self(channel) = self;
        if channel.send(Message::Request).await.is_err() {
            return Ok(None);
        }
        let (mut sockets, mut node_lock, mut folder_lock) = (Vec::new(), None, None);
        loop {
            match channel.receive().await {
                Ok(Some((Message::Socket, Some(socket)))) => sockets.push(socket),
                Ok(Some((Message::NodeLock, Some(lock)))) => node_lock = Some(lock),
                Ok(Some((Message::FolderLock, Some(lock)))) => folder_lock = Some(lock),
                Ok(Some((Message::EndOfList, _))) => break,
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(Some(_)) => return Err(io::Error::other("it refuses; see its log")),
                Err(error) => return Err(error),
            }
        }
        let node_lock = node_lock.ok_or_else(|| io::Error::other("it gives no lock"))?;
        Ok(Some(HandedOver { sockets, node_lock, folder_lock, handover: Handover(channel) }))
    }
}

impl Handover {
    /// Reports readiness; afterwards the other process accepts nothing.
    ///
    /// # Errors
    /// If it has given up: it goes on, and this process must end.
    pub(crate) async fn ready(self) -> anyhow::Result<()> {
        // An error here shows in the answer.
        let _ = self.0.send(Message::Ready).await;
        match timeout(DONE_TIMEOUT, self.0.receive()).await {
            Ok(Ok(Some((Message::Done, _)))) => {
                tracing::info!("taken over: the process before accepts nothing any more")
            }
            Ok(Ok(Some(_))) => bail!("the running process has given up waiting, and goes on"),
            Ok(Ok(None) | Err(_)) => tracing::info!("taken over: the previous process has ended"),
            // It has agreed: better both for a moment than neither.
            Err(_) => tracing::warn!(
                "taken over, but the previous process does not confirm that it stopped accepting"
            ),
        }
        Ok(())
    }
}

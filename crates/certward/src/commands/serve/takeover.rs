//! The second process of a takeover: it asks the running one for its place.

use std::{io, os::fd::OwnedFd, path::Path, time::Duration};

use anyhow::{Context, bail};
use certward_store::{existing_own_folder, look_at_socket};
use tokio::{net::UnixStream, time::timeout};

use super::passage::{self, Passage, Word};

/// For the running process to hold its proofs back, which waits for a report to the store, and to send what it has.
const GIVEN_WITHIN: Duration = Duration::from_secs(30);
/// For it to stop accepting: milliseconds, or a second where it has run out of file descriptors.
const DONE_WITHIN: Duration = Duration::from_secs(30);

/// The running process, not asked yet: as long as it is not, it has heard of nothing.
#[derive(Debug)]
pub(super) struct Predecessor(Passage);

/// What it has given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) node_lock: OwnedFd,
    pub(super) folder_lock: Option<OwnedFd>,
    pub(super) farewell: Farewell,
}

/// What is still to be said.
#[derive(Debug)]
pub(super) struct Farewell(Passage);

impl Predecessor {
    /// The process that serves from this data folder. `None`: there is none that could hand over.
    ///
    /// # Errors
    /// When it is somebody else's.
    pub(super) async fn find(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = passage::path(data_dir);
        let connected = async {
            existing_own_folder(data_dir)?;
            look_at_socket(&path)?;
            UnixStream::connect(&path).await
        };
        match connected.await {
            Ok(stream) => {
                let passage =
                    Passage::with(stream).with_context(|| format!("no takeover by {}", path.display()))?;
                Ok(Some(Self(passage)))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(error).with_context(|| format!("no takeover by {}", path.display()))
            }
            Err(error) => {
                tracing::info!(socket = %path.display(), "nobody to take over from, an ordinary start: {error}");
                Ok(None)
            }
        }
    }

    /// Asks for its place. `None`: it has ended meanwhile.
    ///
    /// # Errors
    /// When it does not give it.
    pub(super) async fn ask(self) -> anyhow::Result<Option<Given>> {
        match timeout(GIVEN_WITHIN, self.receive()).await {
            Ok(given) => given.context("the running process does not hand over"),
            Err(_) => bail!("the running process does not hand over in time"),
        }
    }

    async fn receive(self) -> io::Result<Option<Given>> {
        let Self(passage) = self;
        if passage.say(Word::Ask).await.is_err() {
            return Ok(None);
        }
        let (mut sockets, mut node_lock, mut folder_lock) = (Vec::new(), None, None);
        loop {
            match passage.hear().await {
                Ok(Some((Word::Socket, Some(socket)))) => sockets.push(socket),
                Ok(Some((Word::NodeLock, Some(lock)))) => node_lock = Some(lock),
                Ok(Some((Word::FolderLock, Some(lock)))) => folder_lock = Some(lock),
                Ok(Some((Word::EndOfList, _))) => break,
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(Some(_)) => return Err(io::Error::other("it refuses; see its log")),
                Err(error) => return Err(error),
            }
        }
        let node_lock = node_lock.ok_or_else(|| io::Error::other("it gives no lock"))?;
        Ok(Some(Given { sockets, node_lock, folder_lock, farewell: Farewell(passage) }))
    }
}

impl Farewell {
    /// Says that this process is ready to accept. When this returns, the other one accepts nothing any more.
    ///
    /// # Errors
    /// When it has changed its mind: then it goes on, and this process must end.
    pub(super) async fn ready(self) -> anyhow::Result<()> {
        // Whether it is still there shows in what it answers.
        let _ = self.0.say(Word::Ready).await;
        match timeout(DONE_WITHIN, self.0.hear()).await {
            Ok(Ok(Some((Word::Done, _)))) => {
                tracing::info!("taken over: the process before accepts nothing any more")
            }
            Ok(Ok(Some(_))) => bail!("the running process has given up waiting, and goes on"),
            Ok(Ok(None) | Err(_)) => tracing::info!("taken over: the process before has ended"),
            // It had said yes. Rather both for a moment than nobody.
            Err(_) => tracing::warn!(
                "taken over, but the process before does not say that it accepts nothing any more"
            ),
        }
        Ok(())
    }
}

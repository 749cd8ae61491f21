//! The take-over protocol on a Unix socket in the data folder: one byte per message, some with a
//! file descriptor.
//!
//! Second process: `1`. First: holds its proofs; `s` per listening socket, `n` (lock of the node's
//! id), `f` (lock of the embedded store's folder), `e` (end). Second: joins, fills its index; `r`
//! (ready). First: stops accepting; `d` (done). Refusal: `x`.
//!
//! Until `r` the first serves on. Never both accept: see `certward_gateway::Gateway::hold_proofs`.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
    process::geteuid,
};
use tokio::{io::Interest, net::UnixStream};

pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("takeover.sock")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A later protocol gets another number.
    Ask,
    Socket,
    NodeLock,
    FolderLock,
    EndOfList,
    Ready,
    Done,
    Refused,
}

impl Word {
    const ALL: [(Self, u8); 8] = [
        (Self::Ask, b'1'),
        (Self::Socket, b's'),
        (Self::NodeLock, b'n'),
        (Self::FolderLock, b'f'),
        (Self::EndOfList, b'e'),
        (Self::Ready, b'r'),
        (Self::Done, b'd'),
        (Self::Refused, b'x'),
    ];

    fn byte(self) -> u8 {
        Self::ALL.into_iter().find_map(|(word, byte)| (word == self).then_some(byte)).unwrap_or(b'x')
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(word, known)| (known == byte).then_some(word))
    }
}

#[derive(Debug)]
pub(crate) struct Passage(UnixStream);

impl Passage {
    /// Accepts only this user's processes and root's.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] for others.
    pub(crate) fn with(stream: UnixStream) -> io::Result<Self> {
        let user = stream.peer_cred()?.uid();
        if user != 0 && user != geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("the process at the other end is user {user}'s"),
            ));
        }
        Ok(Self(stream))
    }

    pub(crate) async fn say(&self, word: Word) -> io::Result<()> {
        self.send(word, None).await
    }

    pub(crate) async fn give(&self, word: Word, descriptor: &OwnedFd) -> io::Result<()> {
        self.send(word, Some(descriptor)).await
    }

    async fn send(&self, word: Word, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let byte = [word.byte()];
        self.0
            .async_io(Interest::WRITABLE, || {
                let descriptors = descriptor.map(AsFd::as_fd);
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if let Some(descriptor) = &descriptors
                    && !control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)))
                {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                sendmsg(&self.0, &[IoSlice::new(&byte)], &mut control, SendFlags::NOSIGNAL)?;
                Ok(())
            })
            .await
    }

    /// `None` when the peer is gone.
    pub(crate) async fn hear(&self) -> io::Result<Option<(Word, Option<OwnedFd>)>> {
        let (byte, descriptor) = self
            .0
            .async_io(Interest::READABLE, || {
                let mut byte = [0];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let read = recvmsg(
                    &self.0,
                    &mut [IoSliceMut::new(&mut byte)],
                    &mut control,
                    RecvFlags::CMSG_CLOEXEC,
                )?;
                let descriptor = control.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                    _ => None,
                });
                Ok((byte[..read.bytes].first().copied(), descriptor))
            })
            .await?;
        let Some(byte) = byte else { return Ok(None) };
        match Word::of(byte) {
            Some(word) => Ok(Some((word, descriptor))),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the other process says what is unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn words_arrive_one_by_one_each_with_its_descriptor() {
        let (first, second) = UnixStream::pair().unwrap();
        let (first, second) = (Passage::with(first).unwrap(), Passage::with(second).unwrap());
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        first.say(Word::Ask).await.unwrap();
        first.give(Word::Socket, &writer.try_clone().unwrap().into()).await.unwrap();
        first.say(Word::Ready).await.unwrap();
        assert!(matches!(second.hear().await.unwrap(), Some((Word::Ask, None))));
        let Some((Word::Socket, Some(given))) = second.hear().await.unwrap() else { panic!("no descriptor") };
        assert!(matches!(second.hear().await.unwrap(), Some((Word::Ready, None))));
        std::fs::File::from(given).write_all(b"a").unwrap();
        writer.write_all(b"b").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ab");
        drop(first);
        assert!(second.hear().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_word_is_an_error() {
        use tokio::io::AsyncWriteExt as _;
        let (mut first, second) = UnixStream::pair().unwrap();
        first.write_all(b"?").await.unwrap();
        assert!(Passage::with(second).unwrap().hear().await.is_err());
    }
}

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
pub(crate) enum Message {
    /// A later protocol gets another number.
    Request,
    Socket,
    NodeLock,
    FolderLock,
    EndOfList,
    Ready,
    Done,
    Refused,
}

impl Message {
    const ALL: [(Self, u8); 8] = [
        (Self::Request, b'1'),
        (Self::Socket, b's'),
        (Self::NodeLock, b'n'),
        (Self::FolderLock, b'f'),
        (Self::EndOfList, b'e'),
        (Self::Ready, b'r'),
        (Self::Done, b'd'),
        (Self::Refused, b'x'),
    ];

    fn byte(self) -> u8 {
        Self::ALL.into_iter().find_map(|(message, byte)| (message == self).then_some(byte)).unwrap_or(b'x')
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(message, known)| (known == byte).then_some(message))
    }
}

#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
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

    pub(crate) async fn send(&self, message: Message) -> io::Result<()> {
        self.write(message, None).await
    }

    pub(crate) async fn send_descriptor(&self, message: Message, descriptor: &OwnedFd) -> io::Result<()> {
        self.write(message, Some(descriptor)).await
    }

    async fn write(&self, message: Message, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let byte = [message.byte()];
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
    pub(crate) async fn receive(&self) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
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
        match Message::from_byte(byte) {
            Some(message) => Ok(Some((message, descriptor))),
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
        let (first, second) = (Channel::with(first).unwrap(), Channel::with(second).unwrap());
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        first.send(Message::Request).await.unwrap();
        first.send_descriptor(Message::Socket, &writer.try_clone().unwrap().into()).await.unwrap();
        first.send(Message::Ready).await.unwrap();
        assert!(matches!(second.receive().await.unwrap(), Some((Message::Request, None))));
        let Some((Message::Socket, Some(given))) = second.receive().await.unwrap() else {
            panic!("no descriptor")
        };
        assert!(matches!(second.receive().await.unwrap(), Some((Message::Ready, None))));
        std::fs::File::from(given).write_all(b"a").unwrap();
        writer.write_all(b"b").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ab");
        drop(first);
        assert!(second.receive().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_unknown_message_is_an_error() {
        use tokio::io::AsyncWriteExt as _;
        let (mut first, second) = UnixStream::pair().unwrap();
        first.write_all(b"?").await.unwrap();
        assert!(Channel::with(second).unwrap().receive().await.is_err());
    }
}

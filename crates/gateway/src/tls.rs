//! The TLS of one connection, without a buffer of its own.
//!
//! rustls' buffered connection keeps 4 KiB for what it reads as long as it lives; a fleet of silent devices pays for nothing
//! else. Here everything that is under way lies in buffers of the thread (`wire.rs`), and a connection keeps only what is not
//! complete: the beginning of a record or of a handshake message.

use std::{fmt, ops::Deref, sync::Arc};

use rustls::{
    CommonState, Error, InvalidMessage, ProtocolVersion, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

/// What is kept of a message that is not complete. rustls takes messages of 64 KiB, each of whose records adds a header; a message
/// that is cut into records of a byte each would need much more, and none that is so long is cut so small for a good reason.
pub(crate) const INCOMPLETE_MAX: usize = 80 * 1024;
/// What encryption adds to a record: its header, TLS 1.2's explicit nonce or TLS 1.3's type, and the tag; rounded up.
const OVERHEAD_PER_RECORD: usize = 64;
/// The plaintext of a record at most (RFC 8446 §5.1).
const RECORD_MAX: usize = 16 * 1024;

/// The server's end of a TLS connection.
pub(crate) struct Tls {
    connection: Box<UnbufferedServerConnection>,
    incomplete: Vec<u8>,
}

/// Bytes to be sent: a buffer that never shrinks, so that nothing is cleared before it is written over.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    len: usize,
}

/// Whether the peer still speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Open,
    /// It said close_notify.
    Closed,
}

/// How far one look at the incoming bytes came.
enum Step {
    /// There may be more in them.
    On,
    /// There is nothing more to take.
    Done,
}

impl Tls {
    /// A connection of which nothing has come yet.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self { connection: Box::new(UnbufferedServerConnection::new(config)?), incomplete: Vec::new() })
    }

    /// What came of a record or message that is not complete: [`Tls::take`] wants to see it again, with what follows it.
    pub(crate) fn incomplete(&self) -> &[u8] {
        &self.incomplete
    }

    /// Takes what is complete of `incoming`, which begins with [`Tls::incomplete`]. Decrypts in place; decrypted bytes are
    /// appended to `plain`, and what is to be sent to `out`, also the alert that tells the peer of the error.
    ///
    /// # Errors
    /// What the peer did wrong. The connection is then of no more use.
    pub(crate) fn take(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Peer, Error> {
        let mut used = 0;
        let mut peer = Peer::Open;
        loop {
            match self.step(&mut incoming[used..], &mut used, plain, out, &mut peer) {
                Ok(Step::On) => {}
                Ok(Step::Done) => break,
                Err(error) => {
                    self.take_alert(&mut incoming[used..], out);
                    return Err(error);
                }
            }
        }
        let rest = &incoming[used..];
        if rest.len() > INCOMPLETE_MAX {
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        // What follows a close_notify counts for nothing (RFC 8446 §6.1).
        let rest = if peer == Peer::Closed { &[] } else { rest };
        if rest.is_empty() {
            self.incomplete = Vec::new();
        } else {
            self.incomplete.clear();
            self.incomplete.extend_from_slice(rest);
        }
        Ok(peer)
    }

    fn step(
        &mut self,
        incoming: &mut [u8],
        used: &mut usize,
        plain: &mut Vec<u8>,
        out: &mut Outgoing,
        peer: &mut Peer,
    ) -> Result<Step, Error> {
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(incoming);
        *used += discard;
        match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    *used += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => out.append(|room| size_wanted(data.encode(room)))?,
            // It lies in `out`, whose owner sees to its being sent.
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => *peer = Peer::Closed,
            // Early data is not offered.
            ConnectionState::ReadEarlyData(_) => return Err(Error::General("early data".to_owned())),
            _ => return Ok(Step::Done),
        }
        Ok(Step::On)
    }

    /// The alert of the error that ended the connection. No record is looked at any more.
    fn take_alert(&mut self, rest: &mut [u8], out: &mut Outgoing) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(rest);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            if out.append(|room| size_wanted(data.encode(room))).is_err() {
                return;
            }
        }
    }

    /// Encrypts `plain` into `out`.
    ///
    /// # Errors
    /// The handshake is not done, the connection has failed, or its keys are used up.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Outgoing) -> Result<(), Error> {
        let room = plain.len() + (plain.len() / RECORD_MAX + 2) * OVERHEAD_PER_RECORD;
        self.write(room, out, |traffic, room| traffic.encrypt(plain, room))
    }

    /// Says good-bye, unless that is impossible or was said.
    pub(crate) fn close_notify(&mut self, out: &mut Outgoing) {
        // What cannot be said is left unsaid: the end of the stream follows in any case.
        let _ = self.write(2 * OVERHEAD_PER_RECORD, out, |traffic, room| traffic.queue_close_notify(room));
    }

    fn write(
        &mut self,
        room: usize,
        out: &mut Outgoing,
        mut write: impl FnMut(&mut Writing<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        loop {
            // rustls counts from the first byte of what is incomplete, also when it is asked only to write.
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut self.incomplete);
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    out.reserve(room);
                    return out.append(|free| match write(&mut traffic, free) {
                        Ok(len) => Ok(Ok(len)),
                        Err(EncryptError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                        Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
                    });
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    out.append(|room| size_wanted(data.encode(room)))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    /// The version of TLS that was agreed on.
    pub(crate) fn version(&self) -> Option<&'static str> {
        match self.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some("1.3"),
            ProtocolVersion::TLSv1_2 => Some("1.2"),
            _ => None,
        }
    }
}

type Writing<'a> = WriteTraffic<'a, ServerConnectionData>;

/// How many bytes were written, or how many would have been.
fn size_wanted(encoded: Result<usize, EncodeError>) -> Result<Result<usize, usize>, Error> {
    match encoded {
        Ok(len) => Ok(Ok(len)),
        Err(EncodeError::InsufficientSize(size)) => Ok(Err(size.required_size)),
        Err(EncodeError::AlreadyEncoded) => Ok(Ok(0)),
    }
}

/// What is known of the connection: its version, cipher suite, the client's certificates and so on.
impl Deref for Tls {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        &self.connection
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        self.reserve(more.len());
        self.bytes[self.len..][..more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    fn reserve(&mut self, more: usize) {
        if self.bytes.len() < self.len + more {
            self.bytes.resize(self.len + more, 0);
        }
    }

    /// Lets `write` put bytes behind what is there. It says how many it wrote, or how much room it needs, which it then gets.
    fn append(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<Result<usize, usize>, Error>,
    ) -> Result<(), Error> {
        loop {
            match write(&mut self.bytes[self.len..])? {
                Ok(written) => {
                    self.len += written;
                    return Ok(());
                }
                Err(room) => self.reserve(room),
            }
        }
    }
}

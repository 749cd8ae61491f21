//! A TLS connection without buffers.
//!
//! rustls' buffered connection keeps 4 KiB for life, the main cost of a fleet of silent devices.
//! Here bytes in transit are in per-thread buffers (`wire.rs`); a connection keeps only an
//! incomplete record or handshake message.

use std::{fmt, ops::Deref, sync::Arc};

use rustls::{
    AlertDescription, CommonState, Error, InvalidMessage, ProtocolVersion, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

use crate::io::last_alert;

/// Incomplete bytes kept. rustls takes messages of 64 KiB, plus record headers. One-byte records
/// would need far more; no long message is cut so small for a good reason.
pub(crate) const INCOMPLETE_MAX: usize = 80 * 1024;
/// The same after the handshake: a full record and the start of a key update, the only message a
/// client may still send.
const INCOMPLETE_LATER_MAX: usize = 20 * 1024;
/// Per record: header, TLS 1.2's explicit nonce or TLS 1.3's type, tag; rounded up.
const OVERHEAD_PER_RECORD: usize = 64;
/// The largest plaintext of a record (RFC 8446 §5.1).
const RECORD_MAX: usize = 16 * 1024;

pub(crate) struct Tls {
    connection: Box<UnbufferedServerConnection>,
    incomplete: Vec<u8>,
    /// After an error rustls still counts bytes that are gone: do not call it.
    failed: bool,
}

/// A send buffer that never shrinks, so nothing is cleared before it is overwritten.
#[derive(Default)]
pub(crate) struct SendBuffer {
    bytes: Vec<u8>,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerState {
    Open,
    /// It sent close_notify.
    Closed,
}

enum TlsStep {
    /// There may be more to process.
    On,
    Done,
}

impl Tls {
    /// Fails if rustls refuses the configuration.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: Box::new(UnbufferedServerConnection::new(config)?),
            incomplete: Vec::new(),
            failed: false,
        })
    }

    /// [`Tls::take`] needs these bytes again, followed by more.
    pub(crate) fn incomplete(&self) -> &[u8] {
        &self.incomplete
    }

    /// Processes `incoming`, which begins with [`Tls::incomplete`], in place. Appends to `plain`,
    /// and to `out` what to send, including an error's alert.
    ///
    /// # Errors
    /// The peer's fault. The connection is then unusable.
    pub(crate) fn take(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut SendBuffer,
    ) -> Result<PeerState, Error> {
        if self.failed {
            return Err(Error::HandshakeNotComplete);
        }
        let mut used = 0;
        let mut peer = PeerState::Open;
        loop {
            match self.step(&mut incoming[used..], &mut used, plain, out, &mut peer) {
                Ok(TlsStep::On) => {}
                Ok(TlsStep::Done) => break,
                Err(error) => {
                    self.take_alert(&mut incoming[used..], out);
                    return Err(self.fail(error));
                }
            }
        }
        let rest = &incoming[used..];
        let max = if self.is_handshaking() { INCOMPLETE_MAX } else { INCOMPLETE_LATER_MAX };
        if rest.len() > max {
            return Err(self.fail(InvalidMessage::HandshakePayloadTooLarge.into()));
        }
        // Bytes after close_notify are ignored (RFC 8446 §6.1).
        let rest = if peer == PeerState::Closed { &[] } else { rest };
        if rest.is_empty() {
            self.incomplete = Vec::new();
        } else {
            self.incomplete.clear();
            self.incomplete.extend_from_slice(rest);
        }
        Ok(peer)
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = true;
        self.incomplete = Vec::new();
        error
    }

    fn step(
        &mut self,
        incoming: &mut [u8],
        used: &mut usize,
        plain: &mut Vec<u8>,
        out: &mut SendBuffer,
        peer: &mut PeerState,
    ) -> Result<TlsStep, Error> {
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
            // Already in `out`; its owner sends it.
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => *peer = PeerState::Closed,
            // Early data is not offered.
            ConnectionState::ReadEarlyData(_) => return Err(Error::General("early data".to_owned())),
            _ => return Ok(TlsStep::Done),
        }
        Ok(TlsStep::On)
    }

    /// No further record is processed.
    fn take_alert(&mut self, rest: &mut [u8], out: &mut SendBuffer) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(rest);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            if out.append(|room| size_wanted(data.encode(room))).is_err() {
                return;
            }
        }
    }

    /// Fails if the handshake is not done, the connection failed, or its keys are used up.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut SendBuffer) -> Result<(), Error> {
        // For smaller records rustls reports the size that it needs.
        let room = plain.len() + (plain.len() / RECORD_MAX + 2) * OVERHEAD_PER_RECORD;
        self.write(room, out, |traffic, room| traffic.encrypt(plain, room))
    }

    /// Sends close_notify, unless sent or impossible.
    pub(crate) fn close_notify(&mut self, out: &mut SendBuffer) {
        // Errors are ignored: the end of the stream follows in any case.
        let _ = self.write(2 * OVERHEAD_PER_RECORD, out, |traffic, room| traffic.queue_close_notify(room));
    }

    fn write(
        &mut self,
        room: usize,
        out: &mut SendBuffer,
        mut write: impl FnMut(&mut Writing<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        if self.failed {
            return Err(Error::HandshakeNotComplete);
        }
        loop {
            // rustls counts from the start of the incomplete bytes, also for a write.
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

    /// Ends with a fatal alert, to be sent last. Empty if the handshake is not done or the
    /// connection failed.
    pub(crate) fn into_alert(self, description: AlertDescription) -> Vec<u8> {
        let Some(version) = self.protocol_version().filter(|_| !self.failed) else { return Vec::new() };
        let secrets = self.connection.dangerous_into_kernel_connection();
        let alert =
            secrets.ok().and_then(|(secrets, _)| last_alert::sealed(secrets.tx, version, description));
        alert.unwrap_or_default()
    }

    pub(crate) fn version(&self) -> Option<&'static str> {
        match self.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some("1.3"),
            ProtocolVersion::TLSv1_2 => Some("1.2"),
            _ => None,
        }
    }
}

type Writing<'a> = WriteTraffic<'a, ServerConnectionData>;

/// Bytes written, or `Err` with the bytes needed.
fn size_wanted(encoded: Result<usize, EncodeError>) -> Result<Result<usize, usize>, Error> {
    match encoded {
        Ok(len) => Ok(Ok(len)),
        Err(EncodeError::InsufficientSize(size)) => Ok(Err(size.required_size)),
        Err(EncodeError::AlreadyEncoded) => Ok(Ok(0)),
    }
}

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

impl SendBuffer {
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

    /// `write`: the bytes written, or `Err` with the room needed.
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use certward_test_support::{Leaf, server_params};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
        crypto::CryptoProvider,
        pki_types::ServerName,
        version::{TLS12, TLS13},
    };

    use super::*;

    /// A client and our server, with the bytes in transit.
    struct Pair {
        client: ClientConnection,
        server: Tls,
        plain: Vec<u8>,
        out: SendBuffer,
    }

    impl Pair {
        fn new(version: &'static SupportedProtocolVersion) -> Self {
            Self::with(version, rustls::crypto::aws_lc_rs::default_provider())
        }

        fn with(version: &'static SupportedProtocolVersion, provider: CryptoProvider) -> Self {
            let leaf = Leaf::self_signed(server_params("a.test", &["a.test"]));
            let provider = Arc::new(provider);
            let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der.clone().into()], leaf.private_key())
                .unwrap();
            server.enable_secret_extraction = true;
            let mut roots = RootCertStore::empty();
            roots.add(leaf.der.into()).unwrap();
            let client = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            Self {
                client: ClientConnection::new(Arc::new(client), ServerName::try_from("a.test").unwrap())
                    .unwrap(),
                server: Tls::new(Arc::new(server)).unwrap(),
                plain: Vec::new(),
                out: SendBuffer::default(),
            }
        }

        /// A pair after the handshake, with bytes carried in pieces of at most `piece`.
        fn established(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
            Self::new(version).complete_handshake(piece)
        }

        fn complete_handshake(mut self, piece: usize) -> Self {
            while self.client.is_handshaking() || self.server.is_handshaking() {
                self.carry(piece).unwrap();
            }
            self
        }

        fn carry(&mut self, piece: usize) -> Result<PeerState, Error> {
            let mut peer = PeerState::Open;
            for piece in self.sent_by_client().chunks(piece) {
                peer = self.receive(piece)?;
            }
            self.carry_to_client();
            Ok(peer)
        }

        fn sent_by_client(&mut self) -> Vec<u8> {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
            }
            bytes
        }

        fn receive(&mut self, fresh: &[u8]) -> Result<PeerState, Error> {
            let mut incoming = [self.server.incomplete(), fresh].concat();
            self.server.take(&mut incoming, &mut self.plain, &mut self.out)
        }

        fn carry_to_client(&mut self) {
            let mut bytes = self.out.as_slice();
            while !bytes.is_empty() {
                self.client.read_tls(&mut bytes).unwrap();
                self.client.process_new_packets().unwrap();
            }
            self.out.clear();
        }

        /// Every call now returns an error.
        fn is_unusable(&mut self) {
            self.out.clear();
            self.server.close_notify(&mut self.out);
            assert!(self.server.encrypt(b"more", &mut self.out).is_err());
            assert!(self.receive(b"\x16\x03\x01\0\x01").is_err());
            assert!(self.out.is_empty());
        }

        fn received_by_client(&mut self, len: usize) -> Vec<u8> {
            let mut bytes = vec![0; len];
            self.client.reader().read_exact(&mut bytes).unwrap();
            bytes
        }
    }

    fn both() -> [&'static SupportedProtocolVersion; 2] {
        [&TLS13, &TLS12]
    }

    #[test]
    fn bytes_arrive_however_they_are_cut() {
        for version in both() {
            for piece in [1, 7, 1000, 100_000] {
                let mut pair = Pair::established(version, piece);
                let long: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8).collect();
                pair.client.writer().write_all(&long).unwrap();
                assert_eq!(pair.carry(piece).unwrap(), PeerState::Open);
                assert!(pair.plain == long, "{version:?} {piece}");
                assert!(pair.server.incomplete().is_empty());
                assert_eq!(pair.server.incomplete.capacity(), 0, "an idle connection holds no buffer");
            }
        }
    }

    #[test]
    fn the_other_direction_goes_on_while_a_record_is_incomplete() {
        for version in both() {
            let mut pair = Pair::established(version, usize::MAX);
            pair.client.writer().write_all(b"from the device").unwrap();
            let record = pair.sent_by_client();
            let (begin, rest) = record.split_at(record.len() / 2);
            pair.receive(begin).unwrap();
            assert_eq!(pair.server.incomplete(), begin);
            pair.server.encrypt(b"from the broker", &mut pair.out).unwrap();
            pair.carry_to_client();
            assert_eq!(pair.received_by_client(15), b"from the broker");
            pair.receive(rest).unwrap();
            assert_eq!(pair.plain, b"from the device");
        }
    }

    #[test]
    fn after_the_handshake_an_alert_refuses_a_client_in_every_supported_suite() {
        let suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
        assert!(suites.len() > 6);
        for suite in suites {
            // This certificate's key is ECDSA's.
            if !format!("{:?}", suite.suite()).contains("_RSA_") {
                let mut provider = rustls::crypto::aws_lc_rs::default_provider();
                provider.cipher_suites = vec![suite];
                for sent_before in [0, 3] {
                    let mut pair =
                        Pair::with(suite.version(), provider.clone()).complete_handshake(usize::MAX);
                    for _ in 0..sent_before {
                        pair.server.encrypt(b"more", &mut pair.out).unwrap();
                    }
                    pair.carry_to_client();
                    let alert = pair.server.into_alert(AlertDescription::AccessDenied);
                    pair.client.read_tls(&mut alert.as_slice()).unwrap();
                    let received = pair.client.process_new_packets().unwrap_err();
                    assert_eq!(received, Error::AlertReceived(AlertDescription::AccessDenied), "{suite:?}");
                }
            }
        }
    }

    #[test]
    fn a_handshake_that_is_not_done_has_no_keys_for_a_last_alert() {
        for version in both() {
            assert!(Pair::new(version).server.into_alert(AlertDescription::AccessDenied).is_empty());
        }
    }

    #[test]
    fn much_is_encrypted_at_once() {
        for version in both() {
            let mut pair = Pair::established(version, usize::MAX);
            let long = vec![7; 200_000];
            for len in [0, 1, RECORD_MAX - 1, RECORD_MAX, RECORD_MAX + 1, long.len()] {
                pair.server.encrypt(&long[..len], &mut pair.out).unwrap();
                let mut bytes = pair.out.as_slice();
                let mut received = Vec::new();
                while !bytes.is_empty() {
                    pair.client.read_tls(&mut bytes).unwrap();
                    let state = pair.client.process_new_packets().unwrap();
                    let mut part = vec![0; state.plaintext_bytes_to_read()];
                    pair.client.reader().read_exact(&mut part).unwrap();
                    received.append(&mut part);
                }
                pair.out.clear();
                assert!(received == long[..len], "{version:?} {len}");
            }
        }
    }

    #[test]
    fn each_side_sends_one_close_notify_and_bytes_after_it_are_ignored() {
        for version in both() {
            let mut pair = Pair::established(version, usize::MAX);
            pair.client.writer().write_all(b"last words").unwrap();
            pair.client.send_close_notify();
            let mut bytes = pair.sent_by_client();
            bytes.extend_from_slice(b"\x17\x03\x03\x00\x01?");
            assert_eq!(pair.receive(&bytes).unwrap(), PeerState::Closed);
            assert_eq!(pair.plain, b"last words");
            assert!(pair.server.incomplete().is_empty());
            // The server may still send.
            pair.server.encrypt(b"an answer", &mut pair.out).unwrap();
            pair.server.close_notify(&mut pair.out);
            let said = pair.out.as_slice().len();
            pair.server.close_notify(&mut pair.out);
            assert_eq!(pair.out.as_slice().len(), said, "once");
            pair.carry_to_client();
            assert_eq!(pair.received_by_client(9), b"an answer");
            assert_eq!(pair.client.reader().read(&mut [0]).unwrap(), 0, "a close_notify, else this fails");
        }
    }

    #[test]
    fn an_alert_reports_a_fault_after_the_bytes_before_it() {
        for version in both() {
            let mut pair = Pair::established(version, usize::MAX);
            pair.client.writer().write_all(b"good").unwrap();
            let mut bytes = pair.sent_by_client();
            pair.client.writer().write_all(b"damaged").unwrap();
            let mut damaged = pair.sent_by_client();
            *damaged.last_mut().unwrap() ^= 1;
            bytes.append(&mut damaged);
            assert_eq!(pair.receive(&bytes).unwrap_err(), Error::DecryptError);
            assert_eq!(pair.plain, b"good");
            let mut alert = pair.out.as_slice();
            pair.client.read_tls(&mut alert).unwrap();
            let received = pair.client.process_new_packets().unwrap_err();
            assert_eq!(received, Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
        }
    }

    #[test]
    fn a_key_update_is_answered_before_the_next_bytes() {
        let mut pair = Pair::established(&TLS13, usize::MAX);
        for round in 0..5 {
            pair.client.refresh_traffic_keys().unwrap();
            pair.client.writer().write_all(b"new keys").unwrap();
            pair.carry(1).unwrap();
            assert_eq!(pair.plain, b"new keys", "{round}");
            pair.plain.clear();
            pair.server.encrypt(b"mine too", &mut pair.out).unwrap();
            pair.carry_to_client();
            assert_eq!(pair.received_by_client(8), b"mine too");
        }
    }

    #[test]
    fn nothing_is_encrypted_before_the_handshake_is_done() {
        let mut pair = Pair::new(&TLS13);
        assert_eq!(pair.server.encrypt(b"early", &mut pair.out).unwrap_err(), Error::HandshakeNotComplete);
        assert!(pair.out.is_empty());
    }

    #[test]
    fn a_message_that_never_ends_is_given_up() {
        let mut pair = Pair::new(&TLS13);
        // A ClientHello of 65,535 bytes in one-byte records.
        let mut begun = b"\x16\x03\x01\0\x04\x01\0\xff\xff".to_vec();
        let mut received = pair.receive(&begun);
        while received.is_ok() {
            begun = b"\x16\x03\x01\0\x01\0".repeat(1000);
            received = pair.receive(&begun);
            assert!(pair.server.incomplete().len() <= INCOMPLETE_MAX);
        }
        assert_eq!(received.unwrap_err(), InvalidMessage::HandshakePayloadTooLarge.into());
        pair.is_unusable();
    }

    #[test]
    fn after_a_fault_nothing_more_is_sent_or_received() {
        // In each, rustls still counts bytes that are gone when it fails.
        let cases: [(&str, &[u8]); 4] = [
            ("a record within a message", b"\x16\x03\x01\0\x04\x01\0\xff\xff\x17\x03\x03\0\x01x"),
            ("an empty record, then none", b"\x16\x03\x01\0\0\x99\x03\x03\0\x01x"),
            ("a message within a message", b"\x16\x03\x01\0\x08\x01\0\0\0\x01\0\0\0"),
            ("a Finished for a hello, twice", b"\x16\x03\x01\0\x08\x14\0\0\0\x14\0\0\0"),
        ];
        for (what, bytes) in cases {
            let mut pair = Pair::new(&TLS13);
            assert!(pair.receive(bytes).is_err(), "{what}");
            pair.is_unusable();
            for version in both() {
                let mut pair = Pair::established(version, usize::MAX);
                assert!(pair.receive(bytes).is_err(), "{what}");
                pair.is_unusable();
            }
        }
    }
}

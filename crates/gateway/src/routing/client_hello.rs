//! A ClientHello from its bytes: rustls' `Acceptor` does not expose all of it.
//!
//! `records` and `hello` start with its records, fragmented in any way; later bytes are ignored. A
//! malformed or incomplete one is `None`.

use std::borrow::Cow;

/// Record content type (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Handshake message type (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// Extension type (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// Server name type (RFC 6066 §3).
const HOST_NAME: u8 = 0;
const SHOWN_NAME_MAX: usize = 64;

/// Reassembled from records, with its header; borrowed if it is in one record, as nearly all are.
pub(crate) fn first_message(records: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut records = Cursor(records);
    let first = handshake_record(&mut records)?;
    if let Some(message) = whole_message(first) {
        return Some(Cow::Borrowed(message));
    }
    let mut joined = Vec::with_capacity(first.len() + records.0.len());
    joined.extend_from_slice(first);
    loop {
        joined.extend_from_slice(handshake_record(&mut records)?);
        if let Some(len) = whole_message(&joined).map(<[u8]>::len) {
            joined.truncate(len);
            return Some(Cow::Owned(joined));
        }
    }
}

fn handshake_record<'a>(records: &mut Cursor<'a>) -> Option<&'a [u8]> {
    if records.u8()? != HANDSHAKE {
        return None;
    }
    let _version = records.take(2)?;
    records.vector16()
}

/// The first message of `content`, if it is complete.
fn whole_message(content: &[u8]) -> Option<&[u8]> {
    let [_, a, b, c, ..] = content else { return None };
    let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    content.get(..4 + len)
}

/// The fields of a ClientHello (RFC 8446 §4.1.2) that tell clients apart.
#[derive(Debug)]
pub(crate) struct ClientHello<'a> {
    /// `legacy_version`.
    pub(crate) version: u16,
    /// Two bytes each.
    pub(crate) cipher_suites: &'a [u8],
    /// By type, as sent.
    pub(crate) extensions: Vec<(u16, &'a [u8])>,
}

impl<'a> ClientHello<'a> {
    /// `message` as from [`first_message`].
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        const LENGTH: usize = 3;
        const RANDOM: usize = 32;
        let mut hello = Cursor(message);
        if hello.u8()? != CLIENT_HELLO {
            return None;
        }
        hello.take(LENGTH)?;
        let version = hello.u16()?;
        hello.take(RANDOM)?;
        let _session_id = hello.vector8()?;
        let cipher_suites = hello.vector16()?;
        let _compression_methods = hello.vector8()?;
        let mut extensions = Vec::new();
        if !hello.0.is_empty() {
            let mut list = Cursor(hello.vector16()?);
            if !hello.0.is_empty() {
                return None;
            }
            extensions.reserve(16);
            while !list.0.is_empty() {
                extensions.push((list.u16()?, list.vector16()?));
            }
        }
        Some(Self { version, cipher_suites, extensions })
    }

    pub(crate) fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        self.extensions.iter().find(|(kind, _)| *kind == wanted).map(|(_, body)| *body)
    }

    pub(crate) fn has_server_name(&self) -> bool {
        self.extension(SERVER_NAME).is_some()
    }
}

/// The name as sent, for display where rustls reports none: printable ASCII, other bytes as `?`.
pub(crate) fn shown_server_name(hello: &[u8]) -> Option<String> {
    let message = first_message(hello)?;
    let mut list = Cursor(Cursor(ClientHello::parse(&message)?.extension(SERVER_NAME)?).vector16()?);
    if list.u8()? != HOST_NAME {
        return None;
    }
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    Some(list.vector16()?.iter().take(SHOWN_NAME_MAX).map(shown).collect())
}

/// The content of an extension that is one list with a length of one byte.
pub(crate) fn list8(body: &[u8]) -> Option<&[u8]> {
    let mut body = Cursor(body);
    let list = body.vector8()?;
    body.0.is_empty().then_some(list)
}

/// The content of an extension that is one list with a length of two bytes.
pub(crate) fn list16(body: &[u8]) -> Option<&[u8]> {
    let mut body = Cursor(body);
    let list = body.vector16()?;
    body.0.is_empty().then_some(list)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let [byte] = *self.take(1)? else { return None };
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
}

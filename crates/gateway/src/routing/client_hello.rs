//! The extensions of a ClientHello from its bytes: rustls' `Acceptor` does not expose them.
//!
//! `hello` starts with its records, fragmented in any way; later bytes are ignored. A malformed or
//! incomplete one has no extensions.

/// Record content type (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Handshake message type (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// Extension type (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// Server name type (RFC 6066 §3).
const HOST_NAME: u8 = 0;
const SHOWN_NAME_MAX: usize = 64;

/// Reassembled from records, with its header.
pub(crate) fn first_message(records: &[u8]) -> Option<Vec<u8>> {
    let mut records = Cursor(records);
    let mut message = Vec::with_capacity(records.0.len());
    loop {
        if records.u8()? != HANDSHAKE {
            return None;
        }
        records.take(2)?;
        message.extend_from_slice(records.vector16()?);
        if let [_, a, b, c, body @ ..] = message.as_slice() {
            let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if body.len() >= len {
                message.truncate(4 + len);
                return Some(message);
            }
        }
    }
}

/// By type (RFC 8446 §4.1.2).
pub(crate) fn extensions(message: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    const HEADER: usize = 3;
    const VERSION_AND_RANDOM: usize = 2 + 32;
    let mut hello = Cursor(message);
    if hello.u8()? != CLIENT_HELLO {
        return None;
    }
    hello.take(HEADER + VERSION_AND_RANDOM)?;
    let _session_id = hello.vector8()?;
    let _cipher_suites = hello.vector16()?;
    let _compression_methods = hello.vector8()?;
    let mut list = Cursor(hello.vector16()?);
    if !hello.0.is_empty() {
        return None;
    }
    let mut extensions = Vec::with_capacity(16);
    while !list.0.is_empty() {
        extensions.push((list.u16()?, list.vector16()?));
    }
    Some(extensions)
}

/// The name as sent, for display where rustls reports none: printable ASCII, other bytes as `?`.
pub(crate) fn shown_server_name(hello: &[u8]) -> Option<String> {
    let message = first_message(hello)?;
    let (_, body) = extensions(&message)?.into_iter().find(|(kind, _)| *kind == SERVER_NAME)?;
    let mut list = Cursor(Cursor(body).vector16()?);
    if list.u8()? != HOST_NAME {
        return None;
    }
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    Some(list.vector16()?.iter().take(SHOWN_NAME_MAX).map(shown).collect())
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

//! Detects a `Content-Length` beside a `Transfer-Encoding`, which hyper removes: a proxy may have
//! read that request differently (RFC 9112 §6.3).
//!
//! Stores no content. A request with a `Transfer-Encoding` is the last of its connection
//! (`connection.rs`).

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONTENT_LENGTH: &[u8] = b"content-length";

#[derive(Debug)]
pub(crate) enum Heads {
    Head(Head),
    /// Remaining bytes of a body.
    Body {
        left: u64,
    },
    /// A `Transfer-Encoding`; `both`: with a `Content-Length`.
    Over {
        both: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Head {
    line: HeadLine,
    has_begun: bool,
    has_coding: bool,
    length: Option<u64>,
}

#[derive(Debug, Default)]
enum HeadLine {
    /// Only line breaks so far.
    #[default]
    Empty,
    /// The name so far, in lower case.
    Name {
        bytes: [u8; TRANSFER_ENCODING.len()],
        length: usize,
    },
    /// The value of a `Content-Length`.
    Length,
    Other,
}

impl Default for Heads {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Heads {
    pub(crate) fn has_both(&self) -> bool {
        matches!(self, Self::Over { both: true })
    }

    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self {
                Self::Over { .. } => return,
                Self::Body { left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[here..];
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::default();
                    }
                }
                Self::Head(head) => {
                    bytes = rest;
                    if head.read(*first) {
                        *self = head.end();
                    }
                }
            }
        }
    }
}

impl Head {
    /// Whether the head has ended.
    fn read(&mut self, byte: u8) -> bool {
        match byte {
            b'\r' => {}
            // Empty lines may precede a request.
            b'\n' if matches!(self.line, HeadLine::Empty) => return self.has_begun,
            b'\n' => {
                self.has_begun = true;
                self.line = HeadLine::Empty;
            }
            byte => self.line = self.within_line(byte),
        }
        false
    }

    fn within_line(&mut self, byte: u8) -> HeadLine {
        match self.line {
            HeadLine::Empty if !self.has_begun => HeadLine::Other,
            HeadLine::Empty => HeadLine::Other.or_name(&[], byte),
            HeadLine::Name { bytes, length } if byte == b':' => match &bytes[..length] {
                TRANSFER_ENCODING => {
                    self.has_coding = true;
                    HeadLine::Other
                }
                CONTENT_LENGTH => {
                    self.length = Some(0);
                    HeadLine::Length
                }
                _ => HeadLine::Other,
            },
            HeadLine::Name { bytes, length } => HeadLine::Other.or_name(&bytes[..length], byte),
            HeadLine::Length => {
                // hyper refuses anything else, and too large numbers.
                if let (Some(length), true) = (&mut self.length, byte.is_ascii_digit()) {
                    *length = length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                }
                HeadLine::Length
            }
            HeadLine::Other => HeadLine::Other,
        }
    }

    fn end(&self) -> Heads {
        match self.length {
            both if self.has_coding => Heads::Over { both: both.is_some() },
            None | Some(0) => Heads::default(),
            Some(left) => Heads::Body { left },
        }
    }
}

impl HeadLine {
    /// The extended name, or `self` if it is too long.
    fn or_name(self, before: &[u8], byte: u8) -> Self {
        let mut bytes = [0; TRANSFER_ENCODING.len()];
        let length = before.len() + 1;
        let Some(place) = bytes.get_mut(..length) else { return self };
        place[..before.len()].copy_from_slice(before);
        place[before.len()] = byte.to_ascii_lowercase();
        Self::Name { bytes, length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODED: &str = "PUT / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    const BOTH: &str = "PUT / HTTP/1.1\r\nTRANSFER-ENCODING:chunked\r\ncontent-length:\t5\r\n\r\n";
    const BOTH_TURNED: &str = "PUT / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n";
    const LENGTH: &str = "PUT / HTTP/1.1\r\nContent-Length: 12\r\nX: y\r\n\r\nab\r\n\r\nabcdef";
    const PLAIN: &str = "GET /transfer-encoding:content-length: HTTP/1.1\r\nX-Content-Length: 7\r\n\r\n";

    #[test]
    fn two_ways_to_tell_a_bodys_end_are_seen_wherever_they_stand_and_however_they_come() {
        for (stream, expected) in [
            (CODED.to_owned(), false),
            (PLAIN.to_owned(), false),
            (LENGTH.to_owned(), false),
            (BOTH.to_owned(), true),
            (BOTH_TURNED.to_owned(), true),
            (format!("\r\n\r\n{BOTH}"), true),
            (format!("{PLAIN}{LENGTH}{PLAIN}{BOTH}"), true),
            (format!("{LENGTH}\r\n{LENGTH}{CODED}"), false),
            (format!("{CODED}{BOTH}"), false),
            // Inside a body.
            (format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BOTH}{PLAIN}", BOTH.len()), false),
        ] {
            for at_once in 1..=stream.len() {
                let mut heads = Heads::default();
                stream.as_bytes().chunks(at_once).for_each(|bytes| heads.read(bytes));
                assert_eq!(heads.has_both(), expected, "{at_once} bytes at once: {stream:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>, text in "[a-z :\r\n0-9]{0,80}") {
            let mut heads = Heads::default();
            heads.read(&bytes);
            heads.read(text.as_bytes());
        }
    }
}

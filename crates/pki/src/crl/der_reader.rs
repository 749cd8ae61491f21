//! A strict reader of DER: definite lengths in their shortest form, tags of one byte.
//!
//! asn1-rs takes longer lengths, and its headers cost too much for a million elements.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DerReader<'a>(&'a [u8]);

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

impl<'a> DerReader<'a> {
    pub(super) fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_next(self, identifier: u8) -> bool {
        self.0.first() == Some(&identifier)
    }

    /// The content of the next element, if it has this identifier.
    pub(super) fn take(&mut self, identifier: u8) -> Option<&'a [u8]> {
        if !self.is_next(identifier) {
            return None;
        }
        let (content, rest) = split(self.0)?;
        self.0 = rest;
        Some(content)
    }

    /// The next element with its header, and its content.
    pub(super) fn take_with_header(&mut self, identifier: u8) -> Option<(&'a [u8], &'a [u8])> {
        let before = self.0;
        let content = self.take(identifier)?;
        Some((&before[..before.len() - self.0.len()], content))
    }

    /// The content, if it is all that is left.
    pub(super) fn take_last(mut self, identifier: u8) -> Option<&'a [u8]> {
        self.take(identifier).filter(|_| self.is_empty())
    }
}

/// Content of the first element, and the rest.
fn split(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, after) = der.get(1..)?.split_first()?;
    match *first {
        short @ ..=0x7f => after.split_at_checked(usize::from(short)),
        long @ 0x81..=0x84 => {
            let (length, after) = after.split_at_checked(usize::from(long & 0x7f))?;
            let bytes = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            let is_shortest = length.first() != Some(&0) && bytes >= 0x80;
            is_shortest.then(|| after.split_at_checked(bytes))?
        }
        _ => None,
    }
}

/// An INTEGER's content in its shortest form (X.690 §8.3.2).
pub(super) fn is_shortest_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [0, second, ..] => *second >= 0x80,
        [0xff, second, ..] => *second < 0x80,
        _ => true,
    }
}

/// `None` if it is not DER.
pub(super) fn boolean(content: &[u8]) -> Option<bool> {
    match content {
        [0] => Some(false),
        [0xff] => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::der::wrap;

    #[test]
    fn only_the_shortest_form_is_read() {
        let long = wrap(SEQUENCE, &[7; 300]);
        assert_eq!(DerReader::new(&long).take_last(SEQUENCE), Some(&[7; 300][..]));
        let cases: [(&[u8], bool); 11] = [
            (&[0x30, 1, 7], true),
            (&[0x30, 0], true),
            (&[0x30, 0x81, 1, 7], false),
            (&[0x30, 0x82, 0, 1, 7], false),
            (&[0x30, 0x80, 7, 0, 0], false),
            (&[0x30, 0xff, 7], false),
            (&[0x30, 0x85, 1, 0, 0, 0, 0], false),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], false),
            (&[0x30, 2, 7], false),
            (&[0x31, 1, 7], false),
            (&[0x30], false),
        ];
        for (der, is_read) in cases {
            assert_eq!(DerReader::new(der).take_last(SEQUENCE).is_some(), is_read, "{der:02x?}");
        }
        // What follows is left.
        let mut reader = DerReader::new(&[2, 1, 9, 4, 0]);
        assert_eq!(reader.take(OCTET_STRING), None);
        assert_eq!(reader.take_with_header(INTEGER), Some((&[2, 1, 9][..], &[9][..])));
        assert_eq!(reader.take(OCTET_STRING), Some(&[][..]));
        assert!(reader.is_empty());
    }

    #[test]
    fn an_integer_has_one_form() {
        let cases: [(&[u8], bool); 8] = [
            (&[], false),
            (&[0], true),
            (&[0, 0x7f], false),
            (&[0, 0x80], true),
            (&[0xff], true),
            (&[0xff, 0x80], false),
            (&[0xff, 0x7f], true),
            (&[1, 0], true),
        ];
        for (content, is_shortest) in cases {
            assert_eq!(is_shortest_integer(content), is_shortest, "{content:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read(content in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let der = wrap(SEQUENCE, &content);
            prop_assert_eq!(DerReader::new(&der).take_last(SEQUENCE), Some(&content[..]));
        }
    }
}

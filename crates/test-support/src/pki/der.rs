//! As much DER as is needed of certificates that rcgen makes.

/// The first element: with its header, and its content; and what follows.
pub(super) fn element(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let digits = usize::from(long & 0x7f);
            (2 + digits, der[2..2 + digits].iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
        }
    };
    let (whole, rest) = der.split_at(header + length);
    (whole, &whole[header..], rest)
}

pub(super) fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let header = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => [&[tag, 0x82], &length.to_be_bytes()[..]].concat(),
    };
    [&header, content].concat()
}

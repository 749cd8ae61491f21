//! Randomness for secrets, from the system through aws-lc; the crate's only source.

use zeroize::Zeroizing;

pub(crate) fn fill(bytes: &mut [u8]) {
    // aws-lc aborts without entropy.
    aws_lc_rs::rand::fill(bytes).expect("the system's random generator answers");
}

pub(crate) fn key() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    fill(key.as_mut_slice());
    key
}

pub(crate) fn nonzero() -> i64 {
    loop {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        if bytes != [0; 8] {
            return i64::from_ne_bytes(bytes);
        }
    }
}

/// 16 uniform characters of `a-z 0-9`: 82 bits, unique in practice.
pub(crate) fn name() -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = String::with_capacity(16);
    while name.len() < 16 {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        // The largest multiple of 36 in a byte, for a uniform result.
        let even = bytes.into_iter().filter(|byte| *byte < 252);
        name.extend(even.map(|byte| char::from(ALPHABET[usize::from(byte % 36)])).take(16 - name.len()));
    }
    name
}

/// The text needs capacity: growing would leave copies.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

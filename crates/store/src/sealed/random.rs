//! Secrets are drawn here, from the operating system's generator by way of aws-lc, and nowhere else in this crate.

use zeroize::Zeroizing;

/// Fills `bytes` with randomness.
pub(crate) fn fill(bytes: &mut [u8]) {
    // aws-lc has no way to go on without entropy either; it aborts before it would fail here.
    aws_lc_rs::rand::fill(bytes).expect("the system's random generator answers");
}

/// 256 random bits.
pub(crate) fn key() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    fill(key.as_mut_slice());
    key
}

/// A random number that is not 0.
pub(crate) fn nonzero() -> i64 {
    loop {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        if bytes != [0; 8] {
            return i64::from_ne_bytes(bytes);
        }
    }
}

/// 16 characters of `a-z 0-9`, each equally likely: 82 bits, so that two never meet.
pub(crate) fn name() -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = String::with_capacity(16);
    while name.len() < 16 {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        // 252 is the greatest multiple of 36 in a byte; what is above would favour the first letters.
        let even = bytes.into_iter().filter(|byte| *byte < 252);
        name.extend(even.map(|byte| char::from(ALPHABET[usize::from(byte % 36)])).take(16 - name.len()));
    }
    name
}

/// Appends the bytes as lower-case hexadecimal digits. The text must have room: growing would leave copies behind.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of the DER, 64 lower-case hexadecimal digits.
pub fn fingerprint(der: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, der).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

//! keyCertSign of intermediates (RFC 5280 §6.1.4 (n)), which webpki does not check.

use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;

use crate::der::element;
use crate::tbs::Tbs;

const OID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
/// Bit 5, counted from the first byte's highest (RFC 5280 §4.2.1.3).
const KEY_CERT_SIGN: u8 = 0x80 >> 5;

/// True without keyUsage; false where it, or the certificate, cannot be read.
pub(crate) fn may_sign_certificates(certificate: &CertificateDer<'_>) -> bool {
    let Some(tbs) = Tbs::read(certificate) else { return false };
    match tbs.extension(OID_KEY_USAGE) {
        Ok(None) => true,
        Ok(Some(usage)) => has_key_cert_sign(usage),
        Err(_) => false,
    }
}

fn has_key_cert_sign(usage: &[u8]) -> bool {
    match element(usage, Tag::BitString) {
        Some(([], [_unused_bits, first, ..])) => first & KEY_CERT_SIGN != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_readable_key_usage_with_key_cert_sign_lets_sign() {
        let cases: [(&[u8], bool); 8] = [
            (&[3, 2, 2, 0x04], true),
            (&[3, 2, 1, 0x06], true),
            (&[3, 3, 7, 0x04, 0x80], true),
            (&[3, 2, 7, 0x80], false),
            // Another type, a byte behind, no bits, nothing.
            (&[4, 2, 2, 0x04], false),
            (&[3, 2, 2, 0x04, 0], false),
            (&[3, 1, 0], false),
            (&[], false),
        ];
        for (usage, may_sign) in cases {
            assert_eq!(has_key_cert_sign(usage), may_sign, "{usage:02x?}");
        }
    }
}

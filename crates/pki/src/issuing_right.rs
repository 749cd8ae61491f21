//! keyCertSign of intermediates (RFC 5280 §6.1.4 (n)), which webpki does not check.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// True without keyUsage; webpki refuses unreadable ones.
pub(crate) fn may_sign_certificates(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, x509)) = X509Certificate::from_der(certificate) else { return true };
    x509.extensions().iter().all(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => usage.key_cert_sign(),
        _ => true,
    })
}

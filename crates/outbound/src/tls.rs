use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::Verifier;
use thiserror::Error;

/// Why nothing can be reached over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OutboundTlsError {
    /// The CA file has no certificate, or one that is no trust anchor.
    #[error("the CA file holds no PEM certificate, or one that cannot be used")]
    Ca,
    /// Neither the system nor the CA file has a root.
    #[error("this machine has no root certificates; install its package ca-certificates, or set a CA file")]
    NoRoots,
    /// The library refused the settings.
    #[error("TLS to other servers cannot be set up")]
    Tls,
}

/// The system's roots, and those of `ca` (PEM). The provider is explicit: without, rustls panics if
/// a process has two.
pub fn client_config(ca: Option<&[u8]>) -> Result<ClientConfig, OutboundTlsError> {
    let extra = ca.map_or(Ok(Vec::new()), certificates)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider))
        .map_err(|_| OutboundTlsError::NoRoots)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| OutboundTlsError::Tls)?;
    // The verifier that reqwest has by default.
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    // Exchanges are rare, and a server cannot recognise the node by a ticket.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The dropped errors hold bytes of the file.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OutboundTlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|_| OutboundTlsError::Ca)?;
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    let all_usable = !certificates.is_empty() && usable == certificates.len();
    if all_usable { Ok(certificates) } else { Err(OutboundTlsError::Ca) }
}

#[cfg(test)]
mod tests {
    use certward_test_support::Authority;

    use super::*;

    #[test]
    fn a_ca_file_holds_certificates_only() {
        let authority = Authority::new("Outbound CA");
        let two = authority.pem().to_owned() + Authority::new("Second CA").pem();
        let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for (pem, expected) in [
            (authority.pem(), Ok(())),
            (&two, Ok(())),
            ("", Err(OutboundTlsError::Ca)),
            ("no PEM", Err(OutboundTlsError::Ca)),
            (broken, Err(OutboundTlsError::Ca)),
            (&(two.clone() + broken), Err(OutboundTlsError::Ca)),
        ] {
            assert_eq!(client_config(Some(pem.as_bytes())).map(|_| ()), expected, "{pem}");
        }
    }
}

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::Verifier;
use thiserror::Error;

/// Why alerts cannot be sent at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OutboundError {
    /// The CA file has no certificate, or one that is no trust anchor.
    #[error("the CA file for alerts holds no PEM certificate, or one that cannot be used")]
    Ca,
    /// Neither the system nor the CA file has a root.
    #[error("this machine has no root certificates; install its package ca-certificates, or set a CA file")]
    NoRoots,
    /// The library refused the settings.
    #[error("TLS for alerts cannot be set up")]
    Tls,
}

/// The system's roots, and those of `ca` (PEM). The provider is explicit: without, rustls panics if
/// a process has two.
pub(crate) fn client_config(ca: Option<&[u8]>) -> Result<ClientConfig, OutboundError> {
    let extra = ca.map_or(Ok(Vec::new()), certificates)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(|_| OutboundError::NoRoots)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| OutboundError::Tls)?;
    // The verifier that reqwest has by default.
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    // Alerts are rare, and a receiver cannot recognise the node by a ticket.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The dropped errors hold bytes of the file.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OutboundError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|_| OutboundError::Ca)?;
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    let all_usable = !certificates.is_empty() && usable == certificates.len();
    if all_usable { Ok(certificates) } else { Err(OutboundError::Ca) }
}

#[cfg(test)]
mod tests {
    use certward_test_support::Authority;

    use super::*;

    #[test]
    fn a_ca_file_holds_certificates_only() {
        let authority = Authority::new("Alerts CA");
        let two = authority.pem().to_owned() + Authority::new("Second CA").pem();
        let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for (pem, expected) in [
            (authority.pem(), Ok(())),
            (&two, Ok(())),
            ("", Err(OutboundError::Ca)),
            ("no PEM", Err(OutboundError::Ca)),
            (broken, Err(OutboundError::Ca)),
            (&(two.clone() + broken), Err(OutboundError::Ca)),
        ] {
            assert_eq!(client_config(Some(pem.as_bytes())).map(|_| ()), expected, "{pem}");
        }
    }
}

//! Policies of a path (RFC 5280 §6.1), with any-policy as the initial set.
//!
//! webpki verified everything else. Work grows with the product of policies and mappings, so their
//! number is bounded.

use pkix_path::{SignatureVerifier, TrustAnchor, ValidationPolicy, validate_path};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ClientRefusal;
use crate::normal_form::is_about_policies;
use crate::tbs::BASIC_CONSTRAINTS;

/// Policies and mappings in one path.
const POLICIES_MAX: usize = 100;

/// End entity first, without the anchor.
pub(crate) fn check_policies(path: &[CertificateDer<'_>], now: UnixTime) -> Result<(), ClientRefusal> {
    let policies: usize = path.iter().map(policies_in).sum::<Result<_, _>>()?;
    if policies > POLICIES_MAX {
        return Err(ClientRefusal::ChainTooLong);
    }
    let chain = path.iter().map(with_policies_alone).collect::<Result<Vec<_>, _>>()?;
    let top = &chain.last().ok_or(ClientRefusal::Other)?.tbs_certificate;
    // Any name and key: webpki found the anchor.
    let anchor = TrustAnchor::new(top.issuer.clone(), top.subject_public_key_info.clone());
    let policy = ValidationPolicy::new(now.as_secs());
    validate_path(&chain, &[anchor], &policy, &AcceptAllSignatures)
        .map(|_| ())
        .map_err(|_| ClientRefusal::Policy)
}

fn with_policies_alone(der: &CertificateDer<'_>) -> Result<Certificate, ClientRefusal> {
    let mut certificate = Certificate::from_der(der).map_err(|_| ClientRefusal::Encoding)?;
    if let Some(extensions) = &mut certificate.tbs_certificate.extensions {
        extensions.retain(|extension| {
            let oid = extension.extn_id.as_bytes();
            is_about_policies(oid) || oid == BASIC_CONSTRAINTS
        });
    }
    Ok(certificate)
}

/// webpki verified the signatures.
struct AcceptAllSignatures;

impl SignatureVerifier for AcceptAllSignatures {
    fn verify_signature(
        &self,
        _: x509_cert::spki::AlgorithmIdentifierRef<'_>,
        _: x509_cert::spki::SubjectPublicKeyInfoRef<'_>,
        _: &[u8],
        _: &[u8],
    ) -> Result<(), signature::Error> {
        Ok(())
    }
}

fn policies_in(certificate: &CertificateDer<'_>) -> Result<usize, ClientRefusal> {
    let (_, x509) = X509Certificate::from_der(certificate).map_err(|_| ClientRefusal::Encoding)?;
    let count = |extension: &ParsedExtension<'_>| match extension {
        ParsedExtension::CertificatePolicies(policies) => policies.len(),
        ParsedExtension::PolicyMappings(mappings) => mappings.mappings.len(),
        _ => 0,
    };
    Ok(x509.extensions().iter().map(|extension| count(extension.parsed_extension())).sum())
}

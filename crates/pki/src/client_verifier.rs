//! Whom to let in as a client.
//!
//! webpki decides. Only when it refuses a certificate for its version, and that certificate is an end entity of
//! version 1 to the letter, does this file decide by itself, and narrowly: a trust anchor must have signed the
//! certificate directly, and it must be valid now. No version 1 certificate is ever an issuer here, and no
//! intermediate is looked at: nothing in version 1 says who may issue.
//!
//! Anchors are found by name and told apart by signature: the public EMQX recipe makes two CAs of one name.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    RootCertStore, SignatureScheme,
};
use time::OffsetDateTime;
use webpki::{RawPublicKeyEntity, anchor_from_trusted_cert, spki_for_anchor};

use crate::ClientTrustError;
use crate::version1::Version1;

/// The verifier of a two-way deployment.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(crate) fn build(
        anchors: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, ClientTrustError> {
        let anchors = anchors
            .iter()
            .enumerate()
            .map(|(index, der)| {
                let anchor =
                    anchor_from_trusted_cert(der).map_err(|_| ClientTrustError::UnusableAnchor(index))?;
                Ok(anchor.to_owned())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let roots = RootCertStore { roots: anchors.clone() };
        // Without CRLs the builder fails only when there are no roots.
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|_| ClientTrustError::Empty)?;
        Ok(Self { webpki, anchors, algorithms: provider.signature_verification_algorithms })
    }

    /// Who signed it, and is it valid now? All anchors of its issuer's name are tried.
    fn verify_version1(
        &self,
        certificate: &Version1<'_>,
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut refusal = CertificateError::UnknownIssuer;
        for anchor in self.anchors.iter().filter(|anchor| anchor.subject.as_ref() == certificate.issuer) {
            // There are no names in a version 1 certificate that such an anchor's constraints could be held to.
            if anchor.name_constraints.is_some() {
                continue;
            }
            match self.is_signed_by(certificate, anchor) {
                Ok(()) => {
                    check_validity(certificate, now)?;
                    return Ok(ClientCertVerified::assertion());
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal.into())
    }

    fn is_signed_by(
        &self,
        certificate: &Version1<'_>,
        anchor: &TrustAnchor<'_>,
    ) -> Result<(), CertificateError> {
        let spki = spki_for_anchor(anchor);
        let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
        let signed = &certificate.signed;
        // One identifier stands for several curves; the algorithm that does not fit the key says so.
        self.algorithms
            .all
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm)
            .map(|algorithm| key.verify_signature(*algorithm, signed.content, signed.signature))
            .find(|result| !is_wrong_kind(result))
            .map_or_else(
                || Err(unsupported(signed.algorithm)),
                |result| result.map_err(|_| CertificateError::BadSignature),
            )
    }

    /// TLS 1.2 names no curve in a signature scheme: every algorithm of the scheme is tried, as rustls does.
    fn verify_tls12_version1(
        &self,
        message: &[u8],
        certificate: &Version1<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(certificate.spki);
        let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        algorithms
            .iter()
            .map(|algorithm| key.verify_signature(*algorithm, message, dss.signature()))
            .find(|result| !is_wrong_kind(result))
            .map_or_else(
                || Err(unsupported(&[])),
                |result| result.map_err(|_| CertificateError::BadSignature),
            )?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, intermediates, now) {
            Err(refusal) if is_about_version(&refusal) => match Version1::read(end_entity) {
                Some(certificate) => self.verify_version1(&certificate, now),
                None => Err(refusal),
            },
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.webpki.verify_tls12_signature(message, certificate, dss) {
            Err(refusal) if is_about_version(&refusal) => match Version1::read(certificate) {
                Some(certificate) => self.verify_tls12_version1(message, &certificate, dss),
                None => Err(refusal),
            },
            verdict => verdict,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.webpki.verify_tls13_signature(message, certificate, dss) {
            Err(refusal) if is_about_version(&refusal) => match Version1::read(certificate) {
                Some(certificate) => {
                    let spki = SubjectPublicKeyInfoDer::from(certificate.spki);
                    verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
                }
                None => Err(refusal),
            },
            verdict => verdict,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether webpki refused for the version. The downcast works only while our webpki is the very crate that rustls
/// uses; a test holds that.
pub(crate) fn is_about_version(refusal: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = refusal else { return false };
    matches!(cause.downcast_ref::<webpki::Error>(), Some(webpki::Error::UnsupportedCertVersion))
}

fn check_validity(certificate: &Version1<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let now = i64::try_from(now.as_secs()).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    match now {
        Some(now) if now < certificate.not_before => Err(CertificateError::NotValidYet),
        Some(now) if now <= certificate.not_after => Ok(()),
        _ => Err(CertificateError::Expired),
    }
}

fn is_wrong_kind(result: &Result<(), webpki::Error>) -> bool {
    matches!(result, Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)))
}

/// No supported algorithm fits the signature and the key.
fn unsupported(signature_algorithm: &[u8]) -> CertificateError {
    CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
        signature_algorithm_id: signature_algorithm.to_vec(),
        public_key_algorithm_id: Vec::new(),
    }
}

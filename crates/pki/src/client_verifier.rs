//! webpki's client verification, with two extensions.
//!
//! A strict version 1 end entity is accepted if a trust anchor signed it directly and it is valid;
//! version 1 never issues. Signatures distinguish anchors of one name.
//!
//! If names, policies or salt lengths may cause a refusal, webpki verifies the chain's normal form
//! (`normal_path.rs`).

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    RootCertStore, SignatureScheme,
};
use thiserror::Error as ThisError;
use time::OffsetDateTime;
use webpki::{RawPublicKeyEntity, anchor_from_trusted_cert, spki_for_anchor};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ClientRefusal;
use crate::issuing_right::may_sign_certificates;
use crate::normal_form::without_critical_policies;
use crate::normal_name::normal_name;
use crate::normal_path::NormalAnchors;
use crate::path_candidates::{TooLong, path_candidates};
use crate::pss::Pss;
use crate::public_key::KeyKind;
use crate::version1::Version1;
use crate::webpki_refusal::refused;

/// Why certificates do not make a client trust.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ClientTrustError {
    /// No certificate.
    #[error("there is no client CA")]
    Empty,
    /// The one with this index.
    #[error("client CA number {0} cannot be used as a trust anchor")]
    UnusableAnchor(usize),
}

#[derive(Debug)]
pub(crate) struct ClientVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Built on the first refusal that needs it.
    normal_anchors: OnceLock<NormalAnchors>,
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
        // Without CRLs the builder fails only if there are no roots.
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|_| ClientTrustError::Empty)?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { webpki, anchors, normal_anchors: OnceLock::new(), algorithms })
    }

    fn verify_path(
        &self,
        end_entity: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, issuers, now) {
            Err(refusal) if is_about_version(&refusal) => match Version1::read(end_entity) {
                Some(certificate) => self.verify_version1(&certificate, now).map_err(|error| match &error {
                    // Issued by an intermediate or an unknown root: report the version.
                    Error::InvalidCertificate(CertificateError::UnknownIssuer) if !issuers.is_empty() => {
                        refusal
                    }
                    _ => error,
                }),
                None => Err(refusal),
            },
            Err(refusal) => self.verify_normal_form(end_entity, issuers, now, refusal),
            verdict => verdict,
        }
    }

    /// Tries all anchors of the issuer's name.
    fn verify_version1(
        &self,
        certificate: &Version1<'_>,
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut refusal = CertificateError::UnknownIssuer;
        let issuer = normal_name(certificate.issuer);
        let is_named = |anchor: &&TrustAnchor<'_>| {
            anchor.subject.as_ref() == certificate.issuer
                || issuer.is_some() && normal_name(&anchor.subject) == issuer
        };
        for anchor in self.anchors.iter().filter(is_named) {
            // Version 1 has no names to check against the constraints.
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
        let pss = Pss::read(signed.algorithm);
        // One identifier covers several curves: the wrong ones report a mismatch.
        self.algorithms
            .all
            .iter()
            .copied()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm)
            .chain(pss.as_ref().map(|pss| pss as &dyn SignatureVerificationAlgorithm))
            .map(|algorithm| key.verify_signature(algorithm, signed.content, signed.signature))
            .find(|result| !is_wrong_kind(result))
            .map_or_else(
                || Err(unsupported(signed.algorithm)),
                |result| result.map_err(|_| CertificateError::BadSignature),
            )
    }

    /// `refusal` stands if the form is not its reason.
    fn verify_normal_form(
        &self,
        end_entity: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
        refusal: Error,
    ) -> Result<ClientCertVerified, Error> {
        if !may_be_for_the_form(&refusal) {
            return Err(refusal);
        }
        match self.normal_anchors().verify(end_entity, issuers, self.algorithms.all, now) {
            Some(verdict) => verdict.map(|()| ClientCertVerified::assertion()),
            None => Err(refusal),
        }
    }

    fn normal_anchors(&self) -> &NormalAnchors {
        self.normal_anchors.get_or_init(|| NormalAnchors::of(&self.anchors))
    }

    /// TLS 1.2 schemes name no curve: tries all of a scheme's algorithms, as rustls does.
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
        let signers = signers_among(intermediates);
        let issuers =
            path_candidates(end_entity, &signers).map_err(|TooLong| refused(ClientRefusal::ChainTooLong))?;
        self.verify_path(end_entity, &issuers, now).map_err(|refusal| match &refusal {
            Error::InvalidCertificate(CertificateError::UnknownIssuer)
                if signers.len() < intermediates.len() =>
            {
                refused(ClientRefusal::IssuerKeyUsage)
            }
            Error::InvalidCertificate(CertificateError::BadSignature)
                if !issuers.iter().all(has_verifiable_key) =>
            {
                refused(ClientRefusal::UnsupportedKey)
            }
            _ => refusal,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(
            certificate,
            |certificate| self.webpki.verify_tls12_signature(message, certificate, dss),
            |version1| self.verify_tls12_version1(message, version1, dss),
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(
            certificate,
            |certificate| self.webpki.verify_tls13_signature(message, certificate, dss),
            |version1| {
                let spki = SubjectPublicKeyInfoDer::from(version1.spki);
                verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
            },
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// The downcast needs our webpki to be rustls'; a test checks that.
pub(crate) fn is_about_version(refusal: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = refusal else { return false };
    matches!(cause.downcast_ref::<webpki::Error>(), Some(webpki::Error::UnsupportedCertVersion))
}

pub(crate) fn signers_among<'a>(intermediates: &'a [CertificateDer<'a>]) -> Cow<'a, [CertificateDer<'a>]> {
    if intermediates.iter().all(may_sign_certificates) {
        return Cow::Borrowed(intermediates);
    }
    intermediates.iter().filter(|der| may_sign_certificates(der)).cloned().collect()
}

/// webpki reports a signature by an unsupported key as broken.
fn has_verifiable_key(certificate: &CertificateDer<'_>) -> bool {
    let kind = X509Certificate::from_der(certificate)
        .ok()
        .and_then(|(_, x509)| KeyKind::of_spki(x509.tbs_certificate.subject_pki.raw));
    kind.is_none_or(KeyKind::is_verifiable)
}

/// A version 1 certificate, which webpki refuses, is verified with `by_version1`; one with critical
/// policies again without them.
fn verify_handshake(
    certificate: &CertificateDer<'_>,
    by_webpki: impl Fn(&CertificateDer<'_>) -> Result<HandshakeSignatureValid, Error>,
    by_version1: impl FnOnce(&Version1<'_>) -> Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    let verdict = match by_webpki(certificate) {
        Err(refusal) if is_about_version(&refusal) => {
            Version1::read(certificate).map_or(Err(refusal), |version1| by_version1(&version1))
        }
        Err(refusal) => {
            without_critical_policies(certificate).map_or(Err(refusal), |readable| by_webpki(&readable))
        }
        verdict => verdict,
    };
    verdict.map_err(|refusal| match refusal {
        Error::InvalidCertificate(CertificateError::BadSignature) if !has_verifiable_key(certificate) => {
            refused(ClientRefusal::UnsupportedKey)
        }
        refusal => refusal,
    })
}

/// Refusals that the normal form may lift.
fn may_be_for_the_form(refusal: &Error) -> bool {
    let Error::InvalidCertificate(refusal) = refusal else { return false };
    matches!(
        ClientRefusal::of(refusal),
        ClientRefusal::UnknownIssuer
            | ClientRefusal::BadSignature
            | ClientRefusal::UnsupportedSignature
            | ClientRefusal::CriticalExtension
    )
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

fn unsupported(signature_algorithm: &[u8]) -> CertificateError {
    CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
        signature_algorithm_id: signature_algorithm.to_vec(),
        public_key_algorithm_id: Vec::new(),
    }
}

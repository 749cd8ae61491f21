use rustls::{CertificateError, OtherError};
use thiserror::Error;

use crate::certificate::weak_hash_of;

/// What is wrong with a client's certificate, or with the intermediates that the client sent: a
/// closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientRefusal {
    /// No anchor issued it.
    #[error("no client CA issued the certificate")]
    UnknownIssuer,
    /// A signature was not made by the key that should have made it.
    #[error("a signature does not verify")]
    BadSignature,
    /// It, or an intermediate, has expired.
    #[error("a certificate has expired")]
    Expired,
    /// It, or an intermediate, is not valid yet.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// An extended key usage leaves client authentication out.
    #[error("a certificate is not for client authentication")]
    WrongPurpose,
    /// It is not DER, or not as RFC 5280 §4.1 and §4.2 demand.
    #[error("a certificate is not encoded as RFC 5280 demands")]
    Encoding,
    /// It is not of version 3, or an intermediate is not.
    #[error("a certificate is not of version 3")]
    Version,
    /// It is signed with a hash that is broken.
    #[error("a certificate is signed with a weak hash")]
    WeakSignature,
    /// It is signed with an algorithm that is not supported.
    #[error("a certificate is signed with an unsupported algorithm")]
    UnsupportedSignature,
    /// A key is of a kind or size that no signature is verified with.
    #[error("a key is of an unsupported kind or size")]
    UnsupportedKey,
    /// It is a CA's.
    #[error("the certificate is a CA's")]
    IsCa,
    /// An intermediate is not a CA's.
    #[error("an intermediate is not a CA's certificate")]
    IssuerNotCa,
    /// An intermediate's key usage leaves keyCertSign out.
    #[error("an intermediate's key usage does not allow to sign certificates")]
    IssuerKeyUsage,
    /// More CAs stand below an intermediate than it allows.
    #[error("a path length constraint is exceeded")]
    PathLength,
    /// A name is not within the name constraints of an issuer.
    #[error("a name constraint is violated")]
    NameConstraint,
    /// It has a critical extension that is not known.
    #[error("a certificate has an unknown critical extension")]
    CriticalExtension,
    /// An issuer asks for policies, and the path has none that is valid; or a policy extension
    /// cannot be read.
    #[error("the policies of the path are not valid")]
    Policy,
    /// The path is longer, or the search for it takes more work, than is allowed.
    #[error("the chain is too long")]
    ChainTooLong,
    /// Anything else.
    #[error("the certificate cannot be used")]
    Other,
}

impl ClientRefusal {
    /// What a verifier of [`ClientTrust::verifier`](crate::ClientTrust::verifier) refuses for.
    pub fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            CertificateError::BadEncoding => Self::Encoding,
            CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
                Self::of_algorithm(signature_algorithm_id)
            }
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::UnsupportedKey,
            CertificateError::Other(OtherError(cause)) => {
                if let Some(own) = cause.downcast_ref::<Self>() {
                    return *own;
                }
                cause.downcast_ref().map_or(Self::Other, Self::of_webpki)
            }
            _ => Self::Other,
        }
    }

    fn of_algorithm(identifier: &[u8]) -> Self {
        match weak_hash_of(identifier) {
            Some(_) => Self::WeakSignature,
            None => Self::UnsupportedSignature,
        }
    }

    /// What rustls passes on as it is.
    fn of_webpki(error: &webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::UnsupportedCertVersion => Self::Version,
            E::CaUsedAsEndEntity => Self::IsCa,
            E::EndEntityUsedAsCa => Self::IssuerNotCa,
            E::PathLenConstraintViolated => Self::PathLength,
            E::NameConstraintViolation => Self::NameConstraint,
            E::UnsupportedCriticalExtension => Self::CriticalExtension,
            E::MaximumPathDepthExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded => Self::ChainTooLong,
            E::BadDer
            | E::BadDerTime
            | E::TrailingData(_)
            | E::EmptyEkuExtension
            | E::ExtensionValueInvalid
            | E::InvalidNetworkMaskConstraint
            | E::InvalidSerialNumber
            | E::MalformedDnsIdentifier
            | E::MalformedExtensions
            | E::MalformedNameConstraint
            | E::SignatureAlgorithmMismatch => Self::Encoding,
            _ => Self::Other,
        }
    }
}

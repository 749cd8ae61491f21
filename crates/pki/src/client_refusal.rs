use rustls::{CertificateError, OtherError};
use thiserror::Error;

use crate::certificate::weak_hash_of;

/// Why a client's chain is refused: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientRefusal {
    /// No anchor issued it.
    #[error("no client CA issued the certificate")]
    UnknownIssuer,
    /// A signature does not verify.
    #[error("a signature does not verify")]
    BadSignature,
    /// After notAfter.
    #[error("a certificate has expired")]
    Expired,
    /// Before notBefore.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// extKeyUsage excludes client authentication.
    #[error("a certificate is not for client authentication")]
    WrongPurpose,
    /// Not DER as RFC 5280 §4.1 and §4.2 require.
    #[error("a certificate is not encoded as RFC 5280 demands")]
    Encoding,
    /// Not version 3.
    #[error("a certificate is not of version 3")]
    Version,
    /// A weak hash.
    #[error("a certificate is signed with a weak hash")]
    WeakSignature,
    /// An unsupported algorithm.
    #[error("a certificate is signed with an unsupported algorithm")]
    UnsupportedSignature,
    /// An unsupported kind or size.
    #[error("a key is of an unsupported kind or size")]
    UnsupportedKey,
    /// The end entity is a CA.
    #[error("the certificate is a CA's")]
    IsCa,
    /// An intermediate is not a CA.
    #[error("an intermediate is not a CA's certificate")]
    IssuerNotCa,
    /// An intermediate's keyUsage lacks keyCertSign.
    #[error("an intermediate's key usage does not allow to sign certificates")]
    IssuerKeyUsage,
    /// It exceeds pathLenConstraint.
    #[error("a path length constraint is exceeded")]
    PathLength,
    /// It violates nameConstraints.
    #[error("a name constraint is violated")]
    NameConstraint,
    /// An unknown critical extension.
    #[error("a certificate has an unknown critical extension")]
    CriticalExtension,
    /// Required policies are not valid, or unreadable.
    #[error("the policies of the path are not valid")]
    Policy,
    /// The path or its search exceeds a bound.
    #[error("the chain is too long")]
    ChainTooLong,
    /// Its deployment's deny-list or a CRL has it, or an intermediate that it needs.
    #[error("the certificate is revoked")]
    Revoked,
    /// A CRL that must be current is stale.
    #[error("the CRL of a certificate's issuer is stale")]
    RevocationUnknown,
    /// Anything else.
    #[error("the certificate cannot be used")]
    Other,
}

impl ClientRefusal {
    /// The reason in an error of [`ClientTrust::verifier`](crate::ClientTrust::verifier).
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
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationUnknown,
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

    /// Errors that rustls passes on unchanged.
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

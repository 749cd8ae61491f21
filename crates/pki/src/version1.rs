use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser as _;
use x509_parser::x509::X509Version;

use crate::der::{element, sequence};
use crate::signed::Signed;
use x509_parser::asn1_rs::Tag;

/// webpki refuses version 1; the public EMQX recipe makes it for clients (`openssl x509 -req`
/// without `-extfile`).
pub(crate) struct Version1<'a> {
    pub(crate) signed: Signed<'a>,
    /// Without its SEQUENCE header, as in trust anchors.
    pub(crate) issuer: &'a [u8],
    /// With its SEQUENCE header.
    pub(crate) spki: &'a [u8],
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl<'a> Version1<'a> {
    /// Strict DER: no version field, unique identifiers or extensions, equal inner and outer
    /// algorithm, no trailing bytes. webpki's refusal also covers version 2, and version 1
    /// intermediates.
    pub(crate) fn read(der: &'a CertificateDer<'_>) -> Option<Self> {
        let (rest, x509) =
            X509CertificateParser::new().with_deep_parse_extensions(false).parse(der.as_ref()).ok()?;
        let tbs = &x509.tbs_certificate;
        let signed = Signed::split(der.as_ref())?;
        let is_version1 = rest.is_empty()
            && tbs.version == X509Version::V1
            && tbs.issuer_uid.is_none()
            && tbs.subject_uid.is_none()
            && tbs.extensions().is_empty();
        let (_, issuer) = sequence(tbs.issuer.as_raw())?;
        if !is_version1 || inner_algorithm(signed.content)? != signed.algorithm {
            return None;
        }
        Some(Self {
            signed,
            issuer,
            spki: tbs.subject_pki.raw,
            not_before: tbs.validity.not_before.to_datetime(),
            not_after: tbs.validity.not_after.to_datetime(),
        })
    }
}

/// TBSCertificate ::= SEQUENCE { serialNumber INTEGER, signature SEQUENCE, … }. An explicit version
/// 1 field is not DER (X.690 §11.5).
fn inner_algorithm(content: &[u8]) -> Option<&[u8]> {
    let (_, tbs) = sequence(content)?;
    let (after_serial, _) = element(tbs, Tag::Integer)?;
    sequence(after_serial).map(|(_, algorithm)| algorithm)
}

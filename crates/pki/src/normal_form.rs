//! The form of certificates that webpki understands.
//!
//! webpki compares names by bytes and knows no policy extensions (RFC 5280 §4.2.1.4, §4.2.1.5,
//! §4.2.1.11, §4.2.1.14). Here equal names are equal bytes, and these extensions are not critical.
//! Signatures are verified over the original.

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use x509_parser::asn1_rs::{Any, FromDer as _, Tag};

use crate::der::{element, encode, sequence, wrap};
use crate::normal_name::normal_name;
use crate::signed::Signed;
use crate::tbs::{EXTENSIONS, Tbs};
use crate::work;

#[derive(Debug)]
pub(crate) struct NormalForm<'a> {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) issuer: NameForms,
    pub(crate) subject: NameForms,
    pub(crate) has_critical_policies: bool,
    /// TBSCertificate, normal and original.
    content: Vec<u8>,
    original: &'a [u8],
}

#[derive(Debug)]
pub(crate) struct NameForms {
    pub(crate) normal: Vec<u8>,
    original: Vec<u8>,
}

impl NameForms {
    /// `None` if it is not a name.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        Some(Self { normal: normal_name(name)?, original: name.to_vec() })
    }

    pub(crate) fn differs_in_form_from(&self, other: &Self) -> bool {
        self.normal == other.normal && self.original != other.original
    }
}

/// certificatePolicies, policyMappings, policyConstraints, inhibitAnyPolicy.
const POLICY_EXTENSIONS: [&[u8]; 4] =
    [&[0x55, 0x1d, 32], &[0x55, 0x1d, 33], &[0x55, 0x1d, 36], &[0x55, 0x1d, 54]];

pub(crate) fn is_about_policies(oid: &[u8]) -> bool {
    POLICY_EXTENSIONS.contains(&oid)
}

impl<'a> NormalForm<'a> {
    /// `None` if it is not a certificate in DER, or has a policy extension twice (RFC 5280 §4.2).
    pub(crate) fn of(der: &'a CertificateDer<'_>) -> Option<Self> {
        let (_, outer) = sequence(der)?;
        let tbs = Tbs::read(der)?;
        let original = Signed::split(der)?.content;
        let signature = outer.get(original.len()..)?;
        let (issuer, subject) = (NameForms::of(tbs.issuer)?, NameForms::of(tbs.subject)?);
        let (last, has_critical_policies) = normal_fields(tbs.after_key)?;
        let content = encode(
            Tag::Sequence,
            &[
                tbs.before_issuer.to_vec(),
                wrap(0x30, &issuer.normal),
                tbs.validity.to_vec(),
                wrap(0x30, &subject.normal),
                tbs.spki.to_vec(),
                last,
            ],
        );
        let certificate = encode(Tag::Sequence, &[content.clone(), signature.to_vec()]).into();
        Some(Self { certificate, issuer, subject, has_critical_policies, content, original })
    }
}

/// With policies not critical, so that webpki can read it; `None` if none is.
pub fn without_critical_policies(certificate: &CertificateDer<'_>) -> Option<CertificateDer<'static>> {
    NormalForm::of(certificate).filter(|form| form.has_critical_policies).map(|form| form.certificate)
}

/// Unique identifiers and extensions.
fn normal_fields(mut fields: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (mut normal, mut has_critical_policies) = (Vec::with_capacity(fields.len()), false);
    while !fields.is_empty() {
        let (rest, field) = Any::from_der(fields).ok()?;
        if fields[0] == EXTENSIONS {
            let (after, extensions) = sequence(field.data)?;
            let (extensions, critical) = after.is_empty().then(|| normal_extensions(extensions))??;
            normal.extend(wrap(EXTENSIONS, &wrap(0x30, &extensions)));
            has_critical_policies |= critical;
        } else {
            normal.extend(&fields[..fields.len() - rest.len()]);
        }
        fields = rest;
    }
    Some((normal, has_critical_policies))
}

fn normal_extensions(mut extensions: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (mut normal, mut has_critical_policies) = (Vec::with_capacity(extensions.len()), false);
    let mut policies = Vec::new();
    while !extensions.is_empty() {
        let (rest, extension) = sequence(extensions)?;
        let (after_oid, oid) = element(extension, Tag::Oid)?;
        if is_about_policies(oid) {
            if policies.contains(&oid) {
                return None;
            }
            policies.push(oid);
        }
        match element(after_oid, Tag::Boolean) {
            Some((value, [0xff])) if is_about_policies(oid) => {
                let oid = extension[..extension.len() - after_oid.len()].to_vec();
                normal.extend(encode(Tag::Sequence, &[oid, value.to_vec()]));
                has_critical_policies = true;
            }
            _ => normal.extend(&extensions[..extensions.len() - rest.len()]),
        }
        extensions = rest;
    }
    Some((normal, has_critical_policies))
}

#[derive(Debug)]
pub(crate) struct OriginalSignatureAlgorithm<'a> {
    pub(crate) algorithm: &'a dyn SignatureVerificationAlgorithm,
    pub(crate) chain: &'a [NormalForm<'a>],
}

impl SignatureVerificationAlgorithm for OriginalSignatureAlgorithm<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        work::signature();
        let signed = self.chain.iter().find(|signed| signed.content == message).ok_or(InvalidSignature)?;
        self.algorithm.verify_signature(public_key, signed.original, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

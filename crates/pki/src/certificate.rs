use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

use crate::der::{element, sequence};
use crate::display::{SUBJECT_CHARS_MAX, escape};
use crate::name::{self, Undecodable};
use crate::name_constraints::NameConstraints;
use crate::normal_form::is_about_policies;
use crate::normal_name::normal_name;
use crate::public_key::KeyKind;
use crate::signed::{SignatureKind, SignatureVerdict, Signed};

#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// 1, 2 or 3 (RFC 5280 §4.1.2.1).
    pub(crate) version: u32,
    /// With its SEQUENCE header.
    pub(crate) subject_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    /// In the normal form (RFC 5280 §7.1): equal names are equal bytes.
    pub(crate) normal_subject: Vec<u8>,
    pub(crate) normal_issuer: Vec<u8>,
    pub(crate) has_critical_policies: bool,
    /// Escaped and bounded.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// What OpenSSL cannot decode.
    pub(crate) subject_fault: Option<Undecodable>,
    pub(crate) issuer_fault: Option<Undecodable>,
    /// Raw; escape it for display.
    pub(crate) common_name: Option<String>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// With its SEQUENCE header.
    pub(crate) spki: Vec<u8>,
    pub(crate) key_kind: KeyKind,
    /// CA:TRUE.
    pub(crate) is_ca: bool,
    /// Most CAs between this one and the leaf (RFC 5280 §4.2.1.9).
    pub(crate) path_len: Option<u32>,
    pub(crate) name_constraints: Option<NameConstraints>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Raw; escape them for display.
    pub(crate) dns_names: Vec<String>,
    /// Valid ones have 4 or 16 bytes.
    pub(crate) ip_addresses: Vec<Vec<u8>>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    /// OID of the first critical extension that clients do not know.
    pub(crate) unknown_critical: Option<String>,
    pub(crate) is_precertificate: bool,
    pub(crate) must_staple: bool,
    pub(crate) weak_hash: Option<&'static str>,
    pub(crate) signature_kind: SignatureKind,
    /// Its signature under its own key; [`SignatureVerdict::Broken`] if subject and issuer differ.
    own_verdict: SignatureVerdict,
}

/// RFC 5280 §4.2.1.3.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyUsage {
    pub(crate) digital_signature: bool,
    pub(crate) key_cert_sign: bool,
    pub(crate) crl_sign: bool,
}

/// RFC 5280 §4.2.1.12.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtendedKeyUsage {
    pub(crate) server: bool,
    pub(crate) client: bool,
    pub(crate) any: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Validity,
    TrailingBytes,
    /// A known extension is unreadable, or one is duplicated.
    Extension,
    Structure,
}

impl Certificate {
    /// Strict DER.
    pub(crate) fn read(der: &[u8]) -> Result<Self, Unreadable> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|error| match error {
            x509_parser::nom::Err::Error(X509Error::InvalidDate)
            | x509_parser::nom::Err::Failure(X509Error::InvalidDate) => Unreadable::Validity,
            _ => Unreadable::Structure,
        })?;
        if !rest.is_empty() {
            return Err(Unreadable::TrailingBytes);
        }
        let signed = Signed::split(der).ok_or(Unreadable::Structure)?;
        if !has_strict_validity(signed.content) {
            return Err(Unreadable::Validity);
        }
        let spki = x509.tbs_certificate.subject_pki.raw.to_vec();
        let normal = |name: &X509Name<'_>| {
            let normal = sequence(name.as_raw()).and_then(|(_, name)| normal_name(name));
            normal.unwrap_or_else(|| name.as_raw().to_vec())
        };
        let (normal_subject, normal_issuer) = (normal(x509.subject()), normal(x509.issuer()));
        let own_verdict =
            if normal_subject == normal_issuer { signed.verify(&spki) } else { SignatureVerdict::Broken };
        let extensions = Extensions::read(&x509)?;
        let (not_before, not_after) = (x509.validity().not_before, x509.validity().not_after);
        Ok(Self {
            version: x509.version().0.saturating_add(1),
            subject_der: x509.subject().as_raw().to_vec(),
            issuer_der: x509.issuer().as_raw().to_vec(),
            subject: name::shown(x509.subject()),
            issuer: name::shown(x509.issuer()),
            subject_fault: name::undecodable(x509.subject()),
            issuer_fault: name::undecodable(x509.issuer()),
            common_name: name::common_name(x509.subject()),
            normal_subject,
            normal_issuer,
            has_critical_policies: extensions.has_critical_policies,
            not_before: not_before.to_datetime(),
            not_after: not_after.to_datetime(),
            key_kind: KeyKind::of_spki(&spki).ok_or(Unreadable::Structure)?,
            spki,
            is_ca: extensions.is_ca,
            path_len: extensions.path_len,
            name_constraints: extensions.name_constraints,
            key_usage: extensions.key_usage,
            extended_key_usage: extensions.extended_key_usage,
            dns_names: extensions.dns_names,
            ip_addresses: extensions.ip_addresses,
            subject_key_id: extensions.subject_key_id,
            authority_key_id: extensions.authority_key_id,
            unknown_critical: extensions.unknown_critical,
            is_precertificate: extensions.is_precertificate,
            must_staple: extensions.must_staple,
            signature_kind: signed.kind(),
            weak_hash: weak_hash(&x509.signature_algorithm),
            own_verdict,
            der: CertificateDer::from(der.to_vec()),
        })
    }

    /// If the algorithm is unsupported (SHA-1 roots), names and key identifiers decide.
    pub(crate) fn is_self_signed(&self) -> bool {
        match self.own_verdict {
            SignatureVerdict::Valid => true,
            SignatureVerdict::Broken => false,
            SignatureVerdict::Unsupported => !self.names_another_key(self),
        }
    }

    /// Both ends included (RFC 5280 §4.1.2.5).
    pub(crate) fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    pub(crate) fn has_expired_at(&self, now: OffsetDateTime) -> bool {
        self.not_after < now
    }

    /// CA:TRUE, and keyCertSign in any keyUsage (RFC 5280 §6.1.4).
    pub(crate) fn may_issue(&self) -> bool {
        self.is_ca && self.key_usage.is_none_or(|usage| usage.key_cert_sign)
    }

    /// Whether clients accept it above the leaf: path length, name constraints and, except for a
    /// root, extKeyUsage.
    pub(crate) fn may_stand_over(&self, leaf: &Certificate, cas_between: usize) -> bool {
        self.allows_path(cas_between)
            && self.name_refusal(leaf).is_none()
            && (self.is_self_signed() || self.is_for_servers())
    }

    pub(crate) fn allows_path(&self, cas_between: usize) -> bool {
        self.path_len.is_none_or(|most| cas_between <= usize::try_from(most).unwrap_or(usize::MAX))
    }

    pub(crate) fn name_refusal(&self, leaf: &Certificate) -> Option<String> {
        self.name_constraints
            .as_ref()
            .and_then(|constraints| constraints.refusal(&leaf.dns_names, &leaf.ip_addresses))
    }

    /// OpenSSL, webpki, Go and NSS apply an issuer's extKeyUsage to what it issues, unlike RFC 5280
    /// §4.2.1.12.
    pub(crate) fn is_for_servers(&self) -> bool {
        self.extended_key_usage.is_none_or(|usage| usage.server || usage.any)
    }

    /// Subject and issuer are equal: a CA's key rollover, or a root (RFC 5280 §3.2).
    pub(crate) fn is_self_issued(&self) -> bool {
        self.normal_subject == self.normal_issuer
    }

    /// Another CA's certificate for this root's name and key (RFC 4158 §1.5).
    pub(crate) fn is_cross_signed_of(&self, root: &Certificate) -> bool {
        self.normal_subject == root.normal_subject
            && self.spki == root.spki
            && root.is_self_signed()
            && !self.is_self_signed()
    }

    /// Version 1 has no CA flag: self-signed counts as a root (RFC 5280 §6.1.4 (k)).
    pub(crate) fn is_version1_root(&self) -> bool {
        self.version == 1 && self.is_self_signed()
    }

    pub(crate) fn may_issue_or_is_version1_root(&self) -> bool {
        self.may_issue() || self.is_version1_root()
    }

    pub(crate) fn has_key_id_of(&self, issuer: &Certificate) -> bool {
        matches!((&self.authority_key_id, &issuer.subject_key_id), (Some(wanted), Some(is)) if wanted == is)
    }

    /// Names match and key identifiers do not contradict. No proof: see [`Self::signed_by`].
    pub(crate) fn may_be_issued_by(&self, issuer: &Certificate) -> bool {
        self.normal_issuer == issuer.normal_subject && !self.names_another_key(issuer)
    }

    pub(crate) fn names_in_another_form(&self, issuer: &Certificate) -> bool {
        self.may_be_issued_by(issuer) && self.issuer_der != issuer.subject_der
    }

    pub(crate) fn signed_by(&self, issuer: &Certificate) -> SignatureVerdict {
        Signed::split(&self.der).map_or(SignatureVerdict::Broken, |signed| signed.verify(&issuer.spki))
    }

    pub(crate) fn is_issued_without_right_by(&self, issuer: &Certificate) -> bool {
        !issuer.may_issue_or_is_version1_root()
            && self.may_be_issued_by(issuer)
            && self.signed_by(issuer) == SignatureVerdict::Valid
            && !self.is_self_signed()
    }

    fn names_another_key(&self, issuer: &Certificate) -> bool {
        matches!((&self.authority_key_id, &issuer.subject_key_id), (Some(wanted), Some(is)) if wanted != is)
    }
}

#[derive(Default)]
struct Extensions {
    is_ca: bool,
    path_len: Option<u32>,
    name_constraints: Option<NameConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    dns_names: Vec<String>,
    ip_addresses: Vec<Vec<u8>>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    unknown_critical: Option<String>,
    is_precertificate: bool,
    must_staple: bool,
    has_critical_policies: bool,
}

/// Critical extensions that clients know: keyUsage, subjectAltName, basicConstraints,
/// nameConstraints, cRLDistributionPoints, extKeyUsage; and, with a warning, certificatePolicies,
/// policyMappings, policyConstraints, inhibitAnyPolicy.
const KNOWN_CRITICAL: &[&str] = &[
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.37",
    "2.5.29.32",
    "2.5.29.33",
    "2.5.29.36",
    "2.5.29.54",
];

const OID_PRECERTIFICATE_POISON: &str = "1.3.6.1.4.1.11129.2.4.3";
const OID_TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";

/// INTEGER 5: status_request (RFC 7633 §4).
const TLS_FEATURE_STATUS_REQUEST: &[u8] = &[0x02, 0x01, 0x05];

/// As many as the largest accepted chain holds.
const NAMES_MAX: usize = 6000;

/// RFC 5280 §4.2.1.6.
const DNS_NAME: Tag = Tag(2);

impl Extensions {
    fn read(x509: &X509Certificate<'_>) -> Result<Self, Unreadable> {
        let mut read = Self::default();
        // Fails on a duplicate extension (RFC 5280 §4.2).
        x509.extensions_map().map_err(|_| Unreadable::Extension)?;
        for extension in x509.extensions() {
            let oid = extension.oid.to_id_string();
            match oid.as_str() {
                OID_PRECERTIFICATE_POISON => read.is_precertificate = true,
                OID_TLS_FEATURE => {
                    read.must_staple = extension
                        .value
                        .windows(TLS_FEATURE_STATUS_REQUEST.len())
                        .any(|w| w == TLS_FEATURE_STATUS_REQUEST);
                }
                _ => {}
            }
            read.has_critical_policies |= extension.critical && is_about_policies(extension.oid.as_bytes());
            if extension.critical
                && oid != OID_PRECERTIFICATE_POISON
                && !KNOWN_CRITICAL.contains(&oid.as_str())
                && read.unknown_critical.is_none()
            {
                read.unknown_critical = Some(escape(&oid, SUBJECT_CHARS_MAX));
            }
            read.take(extension.parsed_extension(), KNOWN_CRITICAL.contains(&oid.as_str()))?;
        }
        Ok(read)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>, matters: bool) -> Result<(), Unreadable> {
        match extension {
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = constraints.ca;
                self.path_len = constraints.path_len_constraint;
            }
            ParsedExtension::NameConstraints(constraints) => {
                self.name_constraints = Some(NameConstraints::read(constraints));
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    digital_signature: usage.digital_signature(),
                    key_cert_sign: usage.key_cert_sign(),
                    crl_sign: usage.crl_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_key_usage = Some(ExtendedKeyUsage {
                    server: usage.server_auth,
                    client: usage.client_auth,
                    any: usage.any,
                });
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in names.general_names.iter().take(NAMES_MAX) {
                    self.take_name(name);
                }
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::ParseError { .. } if matters => return Err(Unreadable::Extension),
            _ => {}
        }
        Ok(())
    }

    fn take_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            // Not ASCII: no client matches it, but findings show it.
            GeneralName::Invalid(DNS_NAME, bytes) => {
                self.dns_names.push(String::from_utf8_lossy(bytes).into_owned());
            }
            GeneralName::IPAddress(bytes) => self.ip_addresses.push(bytes.to_vec()),
            _ => {}
        }
    }
}

/// RFC 5280 §4.1.2.5 allows only `YYMMDDHHMMSSZ` and `YYYYMMDDHHMMSSZ`; x509-parser reads more,
/// clients do not.
fn has_strict_validity(tbs: &[u8]) -> bool {
    let strict = || {
        let (_, tbs) = sequence(tbs)?;
        // The version, tagged [0], is optional.
        let after_version = if tbs.first() == Some(&0xa0) { Any::from_der(tbs).ok()?.0 } else { tbs };
        let (after_serial, _) = element(after_version, Tag::Integer)?;
        let (after_algorithm, _) = sequence(after_serial)?;
        let (after_issuer, _) = sequence(after_algorithm)?;
        let (_, validity) = sequence(after_issuer)?;
        let (validity, not_before) = time_text(validity)?;
        let (rest, not_after) = time_text(validity)?;
        let is_strict = |time: &[u8]| {
            time.split_last()
                .is_some_and(|(zone, digits)| *zone == b'Z' && digits.iter().all(u8::is_ascii_digit))
        };
        Some(rest.is_empty() && is_strict(not_before) && is_strict(not_after))
    };
    strict().unwrap_or(false)
}

/// (rest, characters) of a time of the right length.
fn time_text(der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der, Tag::UtcTime).filter(|(_, text)| text.len() == "YYMMDDHHMMSSZ".len()).or_else(|| {
        element(der, Tag::GeneralizedTime).filter(|(_, text)| text.len() == "YYYYMMDDHHMMSSZ".len())
    })
}

/// Refused hashes (RFC 9155, RFC 8446 §4.2.3).
fn weak_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static str> {
    match algorithm.algorithm.to_id_string().as_str() {
        OID_RSASSA_PSS => weak_pss_hash(algorithm),
        "1.2.840.113549.1.1.2" => Some("MD2"),
        "1.2.840.113549.1.1.4" => Some("MD5"),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => Some("SHA-1"),
        _ => None,
    }
}

/// Without its SEQUENCE header.
pub(crate) fn weak_hash_of(identifier: &[u8]) -> Option<&'static str> {
    let (parameters, oid) = Any::from_der(identifier).ok()?;
    let parameters = Any::from_der(parameters).ok().map(|(_, parameters)| parameters);
    weak_hash(&AlgorithmIdentifier::new(Oid::try_from(oid).ok()?, parameters))
}

const OID_RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// The parameters name the hash; the default is SHA-1 (RFC 4055 §3.1).
fn weak_pss_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static str> {
    let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "1.2.840.113549.2.5" => Some("MD5"),
        "1.3.14.3.2.26" => Some("SHA-1"),
        _ => None,
    }
}

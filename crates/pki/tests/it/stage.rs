//! The test bed: uploads, certificates, and the call that judges.
#![allow(dead_code, reason = "each test file uses its own part of the stage")]

use base64::Engine as _;
use certward_pki::{
    Circumstances, HostName, Judgement, NoEntryPoint, Profile, Replaced, Severity, Text, TlsType, Upload,
    judge,
};
use certward_test_support::server_params;
pub(crate) use certward_test_support::{Authority, Leaf, authority_params};
use rcgen::{CertificateParams, KeyPair, SanType};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::judge::objection;
use crate::serving::assert_served;

/// For tests without openssl.
pub(crate) fn now() -> OffsetDateTime {
    time::macros::datetime!(2026-06-01 12:00 UTC)
}

pub(crate) fn text(text: impl Into<String>) -> Text {
    Text::Given(Zeroizing::new(text.into()))
}

/// A valid one-way upload, to be changed.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) tls_type: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) key_password: Option<String>,
    pub(crate) cacert: Option<String>,
    pub(crate) profile: Profile,
    pub(crate) hosts: Vec<&'static str>,
    pub(crate) entry_point: Result<(), NoEntryPoint>,
    pub(crate) replaces: Option<OldUpload>,
    pub(crate) now: OffsetDateTime,
}

/// What an upload replaces: a leaf and, if there are any, client CAs.
#[derive(Clone)]
pub(crate) struct OldUpload {
    leaf: Vec<u8>,
    client_cas: Vec<Vec<u8>>,
}

impl OldUpload {
    pub(crate) fn one_way(leaf: &[u8]) -> Self {
        Self::two_way(leaf, &[])
    }

    pub(crate) fn two_way(leaf: &[u8], client_cas: &[&Authority]) -> Self {
        let client_cas = client_cas.iter().map(|ca| ca.der().to_vec()).collect();
        Self { leaf: leaf.to_vec(), client_cas }
    }

    fn as_replaced(&self) -> Replaced<'_> {
        let Self { leaf, client_cas } = self;
        let tls_type = if client_cas.is_empty() { TlsType::OneWay } else { TlsType::TwoWay };
        Replaced { leaf, tls_type, client_cas }
    }
}

impl Case {
    pub(crate) fn one_way(cert: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            tls_type: Some("one-way".into()),
            cert: Some(cert.into()),
            key: Some(key.into()),
            key_password: None,
            cacert: None,
            profile: Profile::Default,
            hosts: vec!["broker.example.com"],
            entry_point: Ok(()),
            replaces: None,
            now: now(),
        }
    }

    pub(crate) fn two_way(
        cert: impl Into<String>,
        key: impl Into<String>,
        cacert: impl Into<String>,
    ) -> Self {
        Self { tls_type: Some("two-way".into()), cacert: Some(cacert.into()), ..Self::one_way(cert, key) }
    }

    pub(crate) fn hosts(mut self, hosts: &[&'static str]) -> Self {
        self.hosts = hosts.to_vec();
        self
    }

    pub(crate) fn at(mut self, now: OffsetDateTime) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn judge(&self) -> Judgement {
        let given = |field: &Option<String>| field.clone().map_or(Text::Absent, text);
        let upload = Upload {
            tls_type: given(&self.tls_type),
            cert: given(&self.cert),
            key: given(&self.key),
            key_password: given(&self.key_password),
            cacert: given(&self.cacert),
            added_to: Vec::new(),
        };
        let hosts: Vec<HostName> = self.hosts.iter().map(|host| HostName::parse(host).unwrap()).collect();
        let circumstances = Circumstances {
            now: self.now,
            hosts: &hosts,
            entry_point: self.entry_point,
            replaces: self.replaces.as_ref().map(OldUpload::as_replaced),
            profile: self.profile,
        };
        judge(&upload, &circumstances)
    }

    /// Material exists exactly without errors.
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        let judgement = self.judge();
        let refused = judgement.findings.iter().any(|finding| finding.severity == Severity::Error);
        assert_eq!(judgement.material.is_none(), refused, "{:?}", judgement.findings);
        judgement.findings.iter().map(|finding| finding.code.as_str()).collect()
    }
}

/// The fastest kind of key.
pub(crate) fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn leaf_params() -> CertificateParams {
    let mut params = server_params("broker.example.com", &["broker.example.com"]);
    params.use_authority_key_identifier_extension = true;
    params.not_before = now() - Duration::days(10);
    params.not_after = now() + Duration::days(80);
    params
}

pub(crate) fn leaf_of(ca: &Authority) -> Leaf {
    ca.issue(leaf_params(), &p256())
}

pub(crate) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Case {
    let mut params = leaf_params();
    change(&mut params);
    let leaf = Leaf::self_signed(params);
    Case::one_way(leaf.pem, leaf.key_pem)
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

pub(crate) struct Pki {
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
    pub(crate) leaf: Leaf,
}

pub(crate) fn pki() -> Pki {
    let root = Authority::new("Example Root");
    let intermediate = root.intermediate("Example Intermediate");
    let leaf = leaf_of(&intermediate);
    Pki { root, intermediate, leaf }
}

impl Pki {
    pub(crate) fn chain(&self) -> String {
        format!("{}{}", self.leaf.pem, self.intermediate.pem())
    }

    pub(crate) fn case(&self) -> Case {
        Case::one_way(self.chain(), self.leaf.key_pem.clone())
    }
}

/// Catches misspelt codes in tables.
pub(crate) fn known(code: &str) -> bool {
    certward_pki::catalogue().any(|doc| doc.name == code)
}

/// Compares with openssl, serves what is accepted, and reports all differences at once.
pub(crate) fn expect<'a>(rows: impl IntoIterator<Item = (&'a str, Case, &'a [&'a str])>) {
    let mut wrong = Vec::new();
    for (name, case, expected) in rows {
        assert!(expected.iter().all(|code| known(code)), "{name}: a code that does not exist");
        let codes = case.codes();
        if let Some(objection) = objection(&case, &case.judge()) {
            wrong.push(format!("{name}: {objection}"));
        }
        if let Some(material) = case.judge().material {
            assert_served(&material);
        }
        if codes != expected {
            let messages: Vec<_> = case.judge().findings.into_iter().map(|finding| finding.message).collect();
            wrong.push(format!("{name}: expected {expected:?}, got {codes:?}\n  {messages:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(crate) fn encode_pem(label: &str, der: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// At most 64 KiB of content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [header.as_slice(), content].concat()
}

/// Of a certificate in DER that is signed with ECDSA and P-256: with another signature of the same
/// key. (r, s) is as valid as (r, n - s).
pub(crate) fn twin(certificate: &[u8]) -> Vec<u8> {
    const ORDER_OF_P256: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (_, x509) = X509Certificate::from_der(certificate).unwrap();
    let signature = &x509.signature_value.data;
    let (r, s) = signature[2..].split_at(2 + usize::from(signature[3]));
    let (mut twin, mut borrow) = (vec![0; 33], 0_i16);
    for (n, order) in ORDER_OF_P256.iter().rev().enumerate() {
        let digit = s[2..].iter().rev().nth(n).copied().unwrap_or(0);
        let difference = i16::from(*order) - i16::from(digit) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 - n] = (difference & 0xff) as u8;
    }
    let zeros = twin.iter().take_while(|byte| **byte == 0).count();
    let significant = if twin[zeros] < 0x80 { &twin[zeros..] } else { &twin[zeros - 1..] };
    let twin = tlv(0x30, &[r, &tlv(2, significant)].concat());
    let before = &certificate[4..certificate.len() - signature.len() - 3];
    tlv(0x30, &[before, &tlv(3, &[&[0], &twin[..]].concat())].concat())
}

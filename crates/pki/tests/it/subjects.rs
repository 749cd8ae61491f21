//! The corpus of subjects and issuers, and what OpenSSL cannot decode.

use std::process::Command;

use certward_pki::{DeviceIdentity, IdentityRefused};
use rcgen::{KeyPair, SigningKey as _};

use crate::stage::{Authority, Case, Leaf, encode_pem, expect, leaf_params, pki, tlv};

/// SEQUENCE { SET { SEQUENCE { commonName, value } } }
fn name(value: &[u8]) -> Vec<u8> {
    tlv(0x30, &tlv(0x31, &tlv(0x30, &[&[6, 3, 0x55, 4, 3], value].concat())))
}

/// Signed again.
fn renamed(der: &[u8], subject: Option<&[u8]>, issuer: Option<&[u8]>, signer: &KeyPair) -> Vec<u8> {
    let outer = elements(content(der));
    // [0] version, serial number, algorithm, issuer, validity, subject, and the rest.
    let mut parts = elements(content(outer[0]));
    parts[3] = issuer.unwrap_or(parts[3]);
    parts[5] = subject.unwrap_or(parts[5]);
    let tbs = tlv(0x30, &parts.concat());
    let signature = tlv(3, &[&[0], signer.sign(&tbs).unwrap().as_slice()].concat());
    tlv(0x30, &[&tbs, outer[1], &signature].concat())
}

fn header_and_length(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ ..=0x7f => (2, short.into()),
        0x81 => (3, der[2].into()),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        _ => panic!("longer than anything that the tests make"),
    }
}

fn content(der: &[u8]) -> &[u8] {
    &der[header_and_length(der).0..]
}

fn elements(mut content: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !content.is_empty() {
        let (header, length) = header_and_length(content);
        let (element, rest) = content.split_at(header + length);
        elements.push(element);
        content = rest;
    }
    elements
}

fn self_signed(value: &[u8]) -> Leaf {
    let leaf = Leaf::self_signed(leaf_params());
    let key = KeyPair::from_pem(&leaf.key_pem).unwrap();
    let der = renamed(&leaf.der, Some(&name(value)), Some(&name(value)), &key);
    Leaf { pem: encode_pem("CERTIFICATE", &der), der, ..leaf }
}

/// `None` if OpenSSL cannot read the certificate.
fn openssl_reads(pem: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-subject", "-nameopt", "utf8", "-in"]).arg(file.path());
    let output = command.output().expect("openssl is installed");
    let shown = String::from_utf8(output.stdout).expect("UTF-8 was asked for");
    output.status.success().then(|| {
        let name = shown.trim_start_matches("subject=").trim_start_matches("CN=");
        name.trim_end_matches('\n').to_owned()
    })
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn utf32(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()
}

#[test]
fn a_common_name_is_decoded_as_openssl_decodes_it() {
    for (what, tag, value, text) in [
        ("UTF8String", 12, "m\u{fc}ller \u{1f3f4}".as_bytes(), "m\u{fc}ller \u{1f3f4}"),
        ("BMPString", 30, &utf16("m\u{fc}ller \u{7b2c}"), "m\u{fc}ller \u{7b2c}"),
        ("BMPString of ASCII", 30, &utf16("broker.example.com"), "broker.example.com"),
        ("UniversalString", 28, &utf32("m\u{fc}ller \u{1f3f4}"), "m\u{fc}ller \u{1f3f4}"),
        ("TeletexString", 20, b"broker.example.com", "broker.example.com"),
        ("TeletexString in Latin-1", 20, b"m\xfcller", "m\u{fc}ller"),
        ("TeletexString in UTF-8", 20, "\u{fc}".as_bytes(), "\u{c3}\u{bc}"),
        ("PrintableString", 19, b"Broker 1", "Broker 1"),
        ("PrintableString with characters that it has not", 19, b"*@_m\xfcller", "*@_m\u{fc}ller"),
        ("IA5String", 22, b"broker@example", "broker@example"),
        ("IA5String in Latin-1", 22, b"m\xfcller", "m\u{fc}ller"),
        ("NumericString", 18, b"1 2", "1 2"),
        ("NumericString with letters", 18, b"ab\xff", "ab\u{ff}"),
        ("an empty BMPString", 30, b"", ""),
    ] {
        let leaf = self_signed(&tlv(tag, value));
        assert_eq!(openssl_reads(&leaf.pem).as_deref(), Some(text), "{what}: openssl");
        let judgement = Case::one_way(leaf.pem.as_str(), leaf.key_pem.as_str()).judge();
        let material = judgement.material.unwrap_or_else(|| panic!("{what}: {:?}", judgement.findings));
        assert_eq!(material.bundle.common_name(), Some(text), "{what}");
        let shown: String = text
            .chars()
            .flat_map(|c| match c {
                ' '..='~' => vec![c],
                _ => format!("\\u{{{:x}}}", u32::from(c)).chars().collect(),
            })
            .collect();
        assert_eq!(judgement.chain[0].subject, format!("CN={shown}"), "{what}");
    }
}

/// Values of a common name, and whether OpenSSL reads them.
fn values() -> Vec<(&'static str, Vec<u8>, bool)> {
    vec![
        ("Latin-1 in a UTF8String", tlv(12, b"m\xfcller"), false),
        ("a UTF8String that is cut off", tlv(12, b"a\xc3"), false),
        ("an overlong form", tlv(12, b"\xc0\x80"), false),
        ("a surrogate in UTF-8", tlv(12, b"\xed\xa0\x80"), false),
        ("UTF-8 beyond U+10FFFF", tlv(12, b"\xf4\x90\x80\x80"), false),
        ("UTF-8 of five bytes", tlv(12, b"\xf8\x88\x80\x80\x80"), false),
        ("NUL in UTF-8", tlv(12, b"a\0b"), true),
        ("half a character in a BMPString", tlv(30, b"\0a\0"), false),
        ("a high surrogate in a BMPString", tlv(30, b"\xd8\x3c"), false),
        ("a low surrogate in a BMPString", tlv(30, b"\xdc\0"), false),
        ("UTF-16 in a BMPString", tlv(30, &utf16("\u{1f3f4}")), false),
        ("U+FFFF in a BMPString", tlv(30, b"\xff\xff"), true),
        ("a quarter of a character in a UniversalString", tlv(28, b"\0\0\0aa"), false),
        ("a surrogate in a UniversalString", tlv(28, b"\0\0\xd8\0"), false),
        ("a UniversalString beyond U+10FFFF", tlv(28, b"\0\x11\0\0"), false),
        ("a negative UniversalString", tlv(28, b"\x80\0\0\0"), false),
        ("U+10FFFF in a UniversalString", tlv(28, b"\0\x10\xff\xff"), true),
        ("a BIT STRING", tlv(3, b"\0a"), true),
        ("a BIT STRING without a byte", tlv(3, b""), false),
        ("a SEQUENCE", tlv(0x30, b"\x02\x01\x01"), true),
        ("a SET", tlv(0x31, b""), false),
        ("a BOOLEAN", tlv(1, b"\xff"), false),
        ("an INTEGER", tlv(2, b"\x01"), false),
        ("an OCTET STRING", tlv(4, b"a"), false),
        ("NULL", tlv(5, b""), false),
        ("an OID", tlv(6, b"\x2a"), false),
        ("a UTCTime", tlv(23, b"260101000000Z"), false),
        ("a VisibleString", tlv(26, b"a"), false),
        ("a GeneralString", tlv(27, b"a"), false),
        ("a GraphicString", tlv(25, b"a"), false),
        ("a VideotexString", tlv(21, b"a"), false),
        ("an ObjectDescriptor", tlv(7, b"a"), true),
        ("a tag of its own", tlv(0x8c, b"a"), false),
    ]
}

#[test]
fn a_leaf_whose_names_openssl_cannot_decode_is_refused() {
    for (what, value, is_read) in values() {
        let leaf = self_signed(&value);
        assert_eq!(openssl_reads(&leaf.pem).is_some(), is_read, "{what}: openssl");
        let codes: &[&str] = if is_read { &[] } else { &["NAME_UNDECODABLE"] };
        expect([(what, Case::one_way(leaf.pem.as_str(), leaf.key_pem.as_str()), codes)]);
    }
}

#[test]
fn names_that_cannot_be_decoded_are_refused_wherever_they_stand() {
    let pki = pki();
    let bad = name(&tlv(12, b"m\xfcller"));
    let root_key = pki.root.key();
    let pem = |der: Vec<u8>| encode_pem("CERTIFICATE", &der);
    // An intermediate with such a name and its leaf; the same for a root.
    let intermediate = pem(renamed(pki.intermediate.der(), Some(&bad), None, root_key));
    let leaf_of_it = pem(renamed(&pki.leaf.der, None, Some(&bad), pki.intermediate.key()));
    let below_root = pem(renamed(pki.intermediate.der(), None, Some(&bad), root_key));
    let root = pem(renamed(pki.root.der(), Some(&bad), Some(&bad), root_key));
    let devices = Authority::new("Devices");
    let device_ca = pem(renamed(devices.der(), Some(&bad), Some(&bad), devices.key()));
    for pem in [&intermediate, &leaf_of_it, &below_root, &root, &device_ca] {
        assert_eq!(openssl_reads(pem), None);
    }
    let cert = |blocks: &[&str]| Case::one_way(blocks.concat(), pki.leaf.key_pem.clone());
    let cacert = |cas: &[&str]| Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), cas.concat());
    let good = devices.pem();
    expect([
        (
            "the issuer of the leaf, alone",
            cert(&[&leaf_of_it]),
            &["NAME_UNDECODABLE", "MISSING_INTERMEDIATE"] as &[_],
        ),
        ("an intermediate", cert(&[&leaf_of_it, &intermediate]), &["NAME_UNDECODABLE", "NAME_UNDECODABLE"]),
        ("the issuer of an intermediate", cert(&[&pki.leaf.pem, &below_root]), &["NAME_UNDECODABLE"]),
        (
            "a root that would be left out",
            cert(&[&pki.leaf.pem, &below_root, &root]),
            &["NAME_UNDECODABLE", "NAME_UNDECODABLE", "ROOT_LEFT_OUT"],
        ),
        (
            "a stranger that would be left out",
            cert(&[&pki.leaf.pem, pki.intermediate.pem(), &device_ca]),
            &["NAME_UNDECODABLE", "UNRELATED_CERTIFICATE"],
        ),
        ("a client CA", cacert(&[&device_ca]), &["NAME_UNDECODABLE"]),
        ("a client CA beside a good one", cacert(&[good, &device_ca]), &["NAME_UNDECODABLE"]),
        ("the issuer of a client CA", cacert(&[good, &below_root]), &["NAME_UNDECODABLE"]),
    ]);
    let finding = cacert(&[good, &device_ca]).judge().findings.remove(0);
    assert_eq!(
        finding.message,
        "In block 1 of cacert, subject and issuer cannot be decoded: there is a UTF8String that is not UTF-8. \
         OpenSSL cannot read the certificate."
    );
    let item = finding.item.expect("the finding names its block");
    assert_eq!((item.index, item.subject.as_deref()), (1, Some("CN=(cannot be decoded)")));
}

#[test]
fn a_devices_name_is_decoded() {
    for (what, value, text) in [
        ("BMPString", tlv(30, &utf16("m\u{fc}ller")), Ok("m\u{fc}ller")),
        ("UniversalString", tlv(28, &utf32("device-1")), Ok("device-1")),
        ("TeletexString", tlv(20, b"m\xfcller"), Ok("m\u{fc}ller")),
        ("NUL in a BMPString", tlv(30, b"\0a\0\0"), Err(IdentityRefused::NotText)),
        ("Latin-1 in a UTF8String", tlv(12, b"m\xfcller"), Err(IdentityRefused::NotText)),
        ("a SEQUENCE", tlv(0x30, b"\x02\x01\x01"), Err(IdentityRefused::NotText)),
    ] {
        let der = self_signed(&value).der;
        assert_eq!(DeviceIdentity::Cn.of(&der), text.map(str::to_owned), "{what}");
        assert_eq!(DeviceIdentity::Dn.of(&der), text.map(|text| format!("CN={text}")), "{what}");
    }
}

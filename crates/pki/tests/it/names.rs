//! The corpus of subjectAltName entries.

use rcgen::{CustomExtension, SanType};

use crate::stage::{Case, dns, expect, leaf_params, p256, pki, self_signed, tlv};

/// Raw dNSName entries; the host is `broker.example.com`.
fn with_names(names: &[&[u8]]) -> Case {
    let mut entries = Vec::new();
    for name in names {
        entries.extend(tlv(0x82, name));
    }
    with_raw(tlv(0x30, &entries))
}

fn with_raw(alt_names: Vec<u8>) -> Case {
    self_signed(|params| {
        params.subject_alt_names.clear();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], alt_names));
    })
}

#[test]
fn names_that_clients_cannot_use_are_named_beside_those_that_they_can() {
    let good: &[u8] = b"broker.example.com";
    let long = |labels: usize| vec!["a".repeat(49); labels].join(".").into_bytes();
    let beside = |name: &[u8]| with_names(&[good, name]);
    let many: Vec<&[u8]> = std::iter::repeat_n(b"a..b".as_slice(), 50).chain([good]).collect();
    expect([
        ("a good one", with_names(&[good]), &[] as &[_]),
        ("an underscore", beside(b"_mqtt.example.com"), &[]),
        ("a single label", beside(b"localhost"), &[]),
        ("253 characters less a few", beside(&long(5)), &[]),
        ("more than 253 characters", beside(&long(6)), &["NAME_UNUSABLE"]),
        ("a label of 64", beside("a".repeat(64).as_bytes()), &["NAME_UNUSABLE"]),
        ("an empty name", beside(b""), &["NAME_UNUSABLE"]),
        ("an empty label", beside(b"a..example.com"), &["NAME_UNUSABLE"]),
        ("a dot at its front", beside(b".example.com"), &["NAME_UNUSABLE"]),
        ("a dot at its end", beside(b"a.example.com."), &["NAME_UNUSABLE"]),
        ("NUL", beside(b"broker.example.com\0.evil.example"), &["NAME_UNUSABLE"]),
        ("CRLF", beside(b"a.example.com\r\nX-Header: 1"), &["NAME_UNUSABLE"]),
        ("a space", beside(b"a b.example.com"), &["NAME_UNUSABLE"]),
        ("UTF-8", beside("m\u{fc}ller.example".as_bytes()), &["NAME_UNUSABLE"]),
        ("Latin-1", beside(b"m\xfcller.example"), &["NAME_UNUSABLE"]),
        ("HTML", beside(b"<script>alert(1)</script>"), &["NAME_UNUSABLE"]),
        ("a hyphen in front", beside(b"-a.example.com"), &["NAME_UNUSABLE"]),
        ("an IPv4 address", beside(b"192.0.2.1"), &["NAME_IS_ADDRESS"]),
        ("an IPv6 address", beside(b"2001:db8::1"), &["NAME_IS_ADDRESS"]),
        ("a wildcard in the middle", beside(b"a.*.example.com"), &["WILDCARD_ODD"]),
        ("half a wildcard", beside(b"a*.example.com"), &["WILDCARD_ODD"]),
        ("a wildcard and more", beside(b"*a.example.com"), &["WILDCARD_ODD"]),
        ("two wildcards", beside(b"*.*.example.com"), &["WILDCARD_ODD"]),
        ("a wildcard at the end", beside(b"example.*"), &["WILDCARD_ODD"]),
        ("a wildcard alone", beside(b"*"), &["WILDCARD_WIDE"]),
        ("a wildcard over a top-level domain", beside(b"*.com"), &["WILDCARD_WIDE"]),
        (
            "one of each",
            with_names(&[good, b"*.com", b"a*.b.c", b"10.0.0.1", b""]),
            &["WILDCARD_WIDE", "WILDCARD_ODD", "NAME_IS_ADDRESS", "NAME_UNUSABLE"],
        ),
        ("many of one", with_names(&many), &["NAME_UNUSABLE"]),
        (
            "an address of three bytes",
            with_raw(tlv(0x30, &[tlv(0x82, good), tlv(0x87, &[1, 2, 3])].concat())),
            &["NAME_UNUSABLE"],
        ),
        (
            "an address",
            self_signed(|p| p.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 1].into()))),
            &[],
        ),
        ("no entry at all", with_raw(vec![0x30, 0x00]), &["NAME_ONLY_IN_CN"]),
    ]);
}

#[test]
fn a_name_that_clients_cannot_use_covers_no_host() {
    let covered = |name: &[u8], host: &'static str| with_names(&[name]).hosts(&[host]);
    expect([
        (
            "a dot at its end",
            covered(b"broker.example.com.", "broker.example.com"),
            &["HOST_NOT_COVERED", "NAME_UNUSABLE"] as &[_],
        ),
        (
            "half a wildcard",
            covered(b"brok*.example.com", "broker.example.com"),
            &["HOST_NOT_COVERED", "WILDCARD_ODD"],
        ),
        ("a wide wildcard", covered(b"*.com", "example.com"), &["HOST_NOT_COVERED", "WILDCARD_WIDE"]),
        (
            "up to the NUL",
            covered(b"broker.example.com\0.evil.example", "broker.example.com"),
            &["HOST_NOT_COVERED", "NAME_UNUSABLE"],
        ),
    ]);
}

#[test]
fn names_are_shown_escaped_and_few_at_a_time() {
    let case = with_names(&[b"\x1b[2J\r\nevil", b"a..b", b"b..c", b"c..d", b"d..e"]);
    let judgement = case.judge();
    let finding = judgement.findings.iter().find(|finding| finding.code.as_str() == "NAME_UNUSABLE").unwrap();
    assert!(finding.message.contains("\\u{1b}[2J\\u{d}\\u{a}evil"), "{}", finding.message);
    assert!(finding.message.ends_with("and 2 more."), "{}", finding.message);
    let long = with_names(&["x".repeat(3000).as_bytes()]).judge();
    assert!(long.findings.iter().all(|finding| finding.message.len() < 1000));
    let described = certward_pki::describe(long.material.unwrap().bundle.leaf()).unwrap();
    assert!(described.names.iter().all(|name| name.len() < 200));
}

#[test]
fn hostile_names_do_not_hide_a_good_one() {
    let pki = pki();
    let mut params = leaf_params();
    params.subject_alt_names = vec![dns("\0"), dns("broker.example.com"), dns("..")];
    let leaf = pki.intermediate.issue(params, &p256());
    expect([(
        "between two bad ones",
        Case::one_way(leaf.pem + pki.intermediate.pem(), leaf.key_pem),
        &["NAME_UNUSABLE"] as &[_],
    )]);
}

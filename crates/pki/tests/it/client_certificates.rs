//! What is shown of the certificate of a refused client, and the CA that it needs.

use std::time::Duration;

use certward_pki::{ClientCaNames, ClientCertificate, NeededCa, fingerprint};
use certward_test_support::{Authority, Leaf, client_params};
use proptest::prelude::*;
use rcgen::{DnType, DnValue, SerialNumber};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::macros::datetime;

use crate::clients::verifier;
use crate::openssl::Openssl;

/// As a verifier with these client CAs refuses it, in 2026.
fn refused(leaf: &Leaf, client_cas: &[&Authority]) -> ClientCertificate {
    let pems: Vec<&str> = client_cas.iter().map(|ca| ca.pem()).collect();
    let verifier = verifier(&pems);
    let end_entity = CertificateDer::from(leaf.der.clone());
    let intermediates: Vec<CertificateDer<'_>> =
        leaf.intermediates.iter().map(|der| der[..].into()).collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000));
    let error = verifier.verify_client_cert(&end_entity, &intermediates, now).unwrap_err();
    let client_cas = ClientCaNames::of(verifier.root_hint_subjects());
    ClientCertificate::of_refused(&end_entity, &intermediates, &client_cas, &error)
}

#[test]
fn the_needed_ca_is_the_issuer_of_the_last_certificate_on_the_path() {
    let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let sub = stranger.intermediate("sub");
    let without = |mut leaf: Leaf| {
        leaf.intermediates.clear();
        leaf
    };
    let mut with_root = sub.client("device");
    with_root.intermediates.push(stranger.der().to_vec());
    let mut in_disorder = sub.intermediate("below").client("device");
    in_disorder.intermediates.reverse();
    let namesake = Authority::new("known");
    let expired = known.client_with("device", |params| params.not_after = datetime!(2026-01-01 0:00 UTC));
    let unknown = |name: &str| Some(NeededCa { name: name.into(), is_name_known: false });
    let cases = [
        ("directly issued", stranger.client("device"), unknown("CN=stranger")),
        ("below an intermediate that was sent", sub.client("device"), unknown("CN=stranger")),
        ("below one that was not", without(sub.client("device")), unknown("CN=sub")),
        ("with the root", with_root, unknown("CN=stranger")),
        ("in disorder", in_disorder, unknown("CN=stranger")),
        (
            "of another key",
            namesake.client("device"),
            Some(NeededCa { name: "CN=known".into(), is_name_known: true }),
        ),
        // A signature is broken, but perhaps not that of the client CA's name.
        ("of another key, above an intermediate", namesake.intermediate("sub").client("device"), None),
        ("self-signed", Leaf::self_signed(client_params("device")), None),
        ("expired", expired, None),
        ("a server's", known.server(&["device"]), None),
    ];
    for (case, leaf, needed) in cases {
        let refused = refused(&leaf, &[&Authority::new("another"), &known]);
        assert_eq!(refused.needed_ca, needed, "{case}");
        assert_eq!(refused.fingerprint.as_ref(), fingerprint(&leaf.der), "{case}");
        assert!(refused.facts.is_some(), "{case}");
    }
}

#[test]
fn a_certificate_is_shown_escaped_and_bounded() {
    let authority = Authority::new("ca");
    let named = |names: &[&str]| {
        let names: Vec<DnValue> = names.iter().map(|name| DnValue::Utf8String((*name).to_owned())).collect();
        authority.client_with("", |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, name) in [DnType::CommonName, DnType::OrganizationName].into_iter().zip(names) {
                params.distinguished_name.push(kind, name);
            }
        })
    };
    let escapes = format!("CN={}...", "\\u{202e}".repeat(19));
    let cases = [
        ("CN=device, O=Example", named(&["device", "Example"])),
        ("(an empty name)", named(&[])),
        ("CN=a\\u{1b}[31m\\u{a}b", named(&["a\u{1b}[31m\nb"])),
        ("(a very long name)", named(&[&"x".repeat(10_240)])),
        (escapes.as_str(), named(&[&"\u{202e}".repeat(1000)])),
    ];
    for (subject, leaf) in cases {
        let facts = ClientCertificate::of(&leaf.der).facts.unwrap();
        assert_eq!((facts.subject.as_ref(), facts.issuer.as_ref()), (subject, "CN=ca"));
    }
    let mut issuer = client_params("device");
    issuer.not_after = datetime!(2034-05-22 02:43:21 UTC);
    for (serial, shown) in [
        (vec![0x0a, 0x1b], "0a1b".to_owned()),
        (vec![1], "01".to_owned()),
        (vec![0xff; 2], "ffff".to_owned()),
        (vec![0x7f; 20], "7f".repeat(20)),
        (vec![0x7f; 3000], "7f".repeat(20) + "..."),
    ] {
        issuer.serial_number = Some(SerialNumber::from(serial));
        let facts = ClientCertificate::of(&Leaf::self_signed(issuer.clone()).der).facts.unwrap();
        assert_eq!(facts.serial.as_ref(), shown);
        assert_eq!(facts.not_after, issuer.not_after);
    }
}

#[test]
fn the_facts_of_a_version_1_certificate_are_those_that_openssl_prints() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("device").sign("device", "ca", "-sha256");
    let pem = openssl.read("device.pem");
    let shown = ClientCertificate::of(&crate::clients::der(&pem));
    let facts = shown.facts.unwrap();
    assert_eq!(
        (facts.subject.as_ref(), facts.issuer.as_ref()),
        ("CN=device.example.com", "C=CN, O=EMQ, CN=emqx")
    );
    openssl.run("x509 -in device.pem -noout -serial -fingerprint -sha256 -out printed");
    let printed = openssl.read("printed").to_lowercase();
    assert!(printed.contains(&format!("serial={}\n", facts.serial)), "{printed}");
    assert!(printed.replace(':', "").contains(shown.fingerprint.as_ref()), "{printed}");
}

#[test]
fn what_is_no_certificate_has_a_fingerprint_alone() {
    let good = Authority::new("ca").client("device").der;
    for der in [&b""[..], b"no certificate", &good[..good.len() - 1], &[0x30; 5000]] {
        let expected =
            ClientCertificate { fingerprint: fingerprint(der).into(), facts: None, needed_ca: None };
        assert_eq!(ClientCertificate::of(der), expected);
    }
}

proptest! {
    #[test]
    fn a_damaged_certificate_is_shown_within_the_bounds(at in 0_usize..400, byte: u8) {
        let mut der = Authority::new("\u{202e}".repeat(300).as_str()).client(&"\u{7f}".repeat(300)).der;
        if let Some(damaged) = der.get_mut(at) {
            *damaged = byte;
        }
        if let Some(facts) = ClientCertificate::of(&der).facts {
            prop_assert!(facts.subject.len() <= 160 && facts.issuer.len() <= 160);
            prop_assert!(facts.serial.len() <= 43);
            for text in [facts.subject, facts.issuer, facts.serial] {
                prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
            }
        }
    }
}

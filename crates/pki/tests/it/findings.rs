//! The corpus: uploads and their findings, in the order of the answer.

use certward_pki::NoEntryPoint;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::Duration;

use crate::openssl::Openssl;
use crate::stage::{
    Authority, Case, Leaf, OldUpload, Pki, authority_params, dns, encode_pem, expect, leaf_of, leaf_params,
    now, p256, pki, self_signed,
};

type Row = (&'static str, Case, &'static [&'static str]);

fn changed(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Case {
    let mut params = leaf_params();
    change(&mut params);
    with_chain(pki, &pki.intermediate.issue(params, &p256()))
}

fn with_chain(pki: &Pki, leaf: &Leaf) -> Case {
    Case::one_way(format!("{}{}", leaf.pem, pki.intermediate.pem()), leaf.key_pem.clone())
}

fn critical(oid: &[u64]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, vec![0x05, 0x00]);
    extension.set_criticality(true);
    extension
}

#[test]
fn good_uploads_are_accepted_without_findings() {
    let pki = pki();
    let devices = Authority::new("Devices");
    let two_way = |cacert: &str| Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), cacert);
    let kinds = [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ECDSA_P521_SHA512];
    let mut rows: Vec<Row> = vec![
        ("leaf and intermediate", pki.case(), &[]),
        ("self-signed end entity", self_signed(|_| {}), &[]),
        ("no extended key usage", changed(&pki, |p| p.extended_key_usages.clear()), &[]),
        (
            "any extended key usage",
            changed(&pki, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
            &["PURPOSE_ANY"],
        ),
        (
            "server and client",
            changed(&pki, |p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth)),
            &[],
        ),
        ("no key usage", changed(&pki, |p| p.key_usages.clear()), &[]),
        (
            "a wildcard covers one label",
            changed(&pki, |p| p.subject_alt_names = vec![dns("*.example.com")]),
            &[],
        ),
        (
            "names are compared without regard to case",
            changed(&pki, |p| p.subject_alt_names = vec![dns("BROKER.Example.COM")]),
            &[],
        ),
        (
            "a wildcard host is covered by the same wildcard",
            changed(&pki, |p| p.subject_alt_names = vec![dns("*.example.com")]).hosts(&["*.example.com"]),
            &[],
        ),
        ("no hosts, but a listener of its own", pki.case().hosts(&[]), &[]),
        ("two-way", two_way(devices.pem()), &[]),
        ("two-way with an intermediate as the anchor", two_way(devices.intermediate("Line 1").pem()), &[]),
        ("one-way with an empty cacert", Case { cacert: Some(" \n".into()), ..pki.case() }, &[]),
        ("at the very first second", pki.case().at(now() - Duration::days(10)), &[]),
    ];
    for kind in kinds {
        let leaf = pki.intermediate.issue(leaf_params(), &KeyPair::generate_for(kind).unwrap());
        rows.push(("another curve", with_chain(&pki, &leaf), &[]));
    }
    expect(rows);
}

#[test]
fn a_request_that_lacks_its_parts_is_refused() {
    let pki = pki();
    let two_way = Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), pki.root.pem().to_owned());
    let tls_type = |value: Option<&str>| Case { tls_type: value.map(str::to_owned), ..pki.case() };
    expect([
        ("no tlsType", tls_type(None), &["TLS_TYPE_INVALID"] as &[_]),
        ("empty tlsType", tls_type(Some("")), &["TLS_TYPE_INVALID"]),
        ("another case", tls_type(Some("One-Way")), &["TLS_TYPE_INVALID"]),
        ("a space behind", tls_type(Some("one-way ")), &["TLS_TYPE_INVALID"]),
        ("no cert", Case { cert: None, ..pki.case() }, &["CERT_MISSING"]),
        ("empty cert", Case { cert: Some("\n ".into()), ..pki.case() }, &["CERT_MISSING"]),
        ("no key", Case { key: None, ..pki.case() }, &["KEY_MISSING"]),
        ("neither", Case { key: None, cert: None, ..pki.case() }, &["CERT_MISSING", "KEY_MISSING"]),
        ("two-way without cacert", Case { cacert: None, ..two_way.clone() }, &["CA_MISSING"]),
        (
            "two-way with an empty cacert",
            Case { cacert: Some(String::new()), ..two_way.clone() },
            &["CA_MISSING"],
        ),
        (
            "one-way with a CA",
            Case { tls_type: Some("one-way".into()), ..two_way.clone() },
            &["CA_UNEXPECTED"],
        ),
        ("one-way with rubbish", Case { cacert: Some("x".into()), ..pki.case() }, &["CA_UNEXPECTED"]),
        (
            "cert and key swapped",
            Case::one_way(pki.leaf.key_pem.clone(), pki.chain()),
            &["CERT_NOT_IN_FIELD", "KEY_NOT_IN_FIELD"],
        ),
        (
            "two keys",
            Case { key: Some(pki.leaf.key_pem.clone() + &p256().serialize_pem()), ..pki.case() },
            &["MULTIPLE_KEYS"],
        ),
        (
            "one key twice",
            Case { key: Some(pki.leaf.key_pem.clone() + &pki.leaf.key_pem), ..pki.case() },
            &[],
        ),
        (
            "everything in both fields",
            Case::one_way(pki.chain() + &pki.leaf.key_pem, pki.leaf.key_pem.clone() + &pki.chain()),
            &["CERTIFICATE_IN_KEY_FIELD", "KEY_IN_CERT_FIELD"],
        ),
        (
            "a field of 300 KiB",
            Case { cert: Some("x".repeat(300 << 10)), ..pki.case() },
            &["FIELD_TOO_LARGE"],
        ),
    ]);
}

#[test]
fn a_leaf_that_would_break_every_client_is_refused() {
    let pki = pki();
    let other = p256().serialize_pem();
    expect([
        ("expired", pki.case().at(now() + Duration::days(81)), &["LEAF_EXPIRED"] as &[_]),
        ("not yet valid", pki.case().at(now() - Duration::days(11)), &["LEAF_NOT_YET_VALID"]),
        (
            "ends before it begins",
            changed(&pki, |p| (p.not_before, p.not_after) = (p.not_after, p.not_before)),
            &["VALIDITY_REVERSED"],
        ),
        ("a CA", changed(&pki, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), &["LEAF_IS_CA"]),
        (
            "a self-signed CA that may only sign certificates",
            self_signed(|p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            }),
            &["LEAF_IS_CA"],
        ),
        (
            "a client's",
            changed(&pki, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            &["LEAF_NOT_FOR_SERVERS"],
        ),
        (
            "for signing code",
            changed(&pki, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
            &["LEAF_NOT_FOR_SERVERS"],
        ),
        (
            "a critical extension that nobody knows",
            changed(&pki, |p| p.custom_extensions.push(critical(&[1, 2, 3, 4]))),
            &["CRITICAL_EXTENSION_UNKNOWN"],
        ),
        (
            "a precertificate",
            changed(&pki, |p| p.custom_extensions.push(critical(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 3]))),
            &["PRECERTIFICATE"],
        ),
        ("another key", Case { key: Some(other.clone()), ..pki.case() }, &["KEY_MISMATCH"]),
        (
            "a key of another kind",
            Case {
                key: Some(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem()),
                ..pki.case()
            },
            &["KEY_MISMATCH"],
        ),
        (
            "the issuer's key",
            Case { key: Some(pki.intermediate.key().serialize_pem()), ..pki.case() },
            &["KEY_MISMATCH"],
        ),
        (
            "several faults, the most important first",
            Case { key: Some(other), ..pki.case() }.at(now() + Duration::days(81)),
            &["KEY_MISMATCH", "LEAF_EXPIRED"],
        ),
    ]);
}

#[test]
fn a_leaf_whose_signature_is_broken_is_refused_only_where_no_given_issuer_signed_it() {
    let pki = pki();
    let mut der = pki.leaf.der.clone();
    let last = der.len() - 1;
    der[last] ^= 1;
    let broken = encode_pem("CERTIFICATE", &der);
    let (right, wrong) = (Authority::new("One Name"), Authority::new("One Name"));
    let mut params = leaf_params();
    params.use_authority_key_identifier_extension = false;
    let leaf = right.issue(params, &p256());
    let case = |cert: String| Case::one_way(cert, leaf.key_pem.clone());
    expect([
        (
            "one bit of the signature",
            Case::one_way(broken.clone() + pki.intermediate.pem(), pki.leaf.key_pem.clone()),
            &["LEAF_SIGNATURE_BROKEN"] as &[_],
        ),
        (
            "the same without an issuer to see it by",
            Case::one_way(broken, pki.leaf.key_pem.clone()),
            &["MISSING_INTERMEDIATE"],
        ),
        ("another CA of the same name", case(leaf.pem.clone() + wrong.pem()), &["LEAF_SIGNATURE_BROKEN"]),
        (
            "both CAs",
            case(leaf.pem.clone() + wrong.pem() + right.pem()),
            &["UNRELATED_CERTIFICATE", "ROOT_LEFT_OUT"],
        ),
        (
            "key identifiers tell the other CA apart",
            {
                let leaf = leaf_of(&right);
                Case::one_way(leaf.pem + wrong.pem(), leaf.key_pem)
            },
            &["MISSING_INTERMEDIATE", "UNRELATED_CERTIFICATE"],
        ),
    ]);
}

#[test]
fn what_may_be_meant_is_accepted_and_said() {
    let pki = pki();
    let expired = |ca: &Authority| {
        ca.intermediate_with("Example Intermediate", |p| p.not_after = now() - Duration::days(1))
    };
    let old = expired(&pki.root);
    let old_leaf = leaf_of(&old);
    let ed =
        Authority::from_params(authority_params("Ed"), KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let ed_leaf = leaf_of(&ed);
    let ca = |p: &mut CertificateParams| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let named = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| dns(name)).collect();
        changed(&pki, |p| p.subject_alt_names = names)
    };
    expect([
        (
            "leaf alone",
            Case::one_way(pki.leaf.pem.clone(), pki.leaf.key_pem.clone()),
            &["MISSING_INTERMEDIATE"] as &[_],
        ),
        (
            "root without the intermediate",
            Case::one_way(pki.leaf.pem.clone() + pki.root.pem(), pki.leaf.key_pem.clone()),
            &["MISSING_INTERMEDIATE", "UNRELATED_CERTIFICATE"],
        ),
        (
            "as openssl req -x509 makes it",
            self_signed(|p| {
                ca(p);
                p.key_usages.clear();
            }),
            &["SELF_SIGNED_CA_LEAF"],
        ),
        (
            "a self-signed CA that may sign handshakes",
            self_signed(|p| {
                ca(p);
                p.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }),
            &["SELF_SIGNED_CA_LEAF"],
        ),
        ("a host that no name covers", pki.case().hosts(&["a.example.com"]), &["HOST_NOT_COVERED"]),
        (
            "two of three hosts",
            pki.case().hosts(&["a.example.com", "broker.example.com", "b.example.com"]),
            &["HOST_NOT_COVERED", "HOST_NOT_COVERED"],
        ),
        (
            "a wildcard covers one label only",
            named(&["*.example.com"]).hosts(&["a.b.example.com"]),
            &["HOST_NOT_COVERED"],
        ),
        (
            "a wildcard covers no parent",
            named(&["*.example.com"]).hosts(&["example.com"]),
            &["HOST_NOT_COVERED"],
        ),
        (
            "one name covers no wildcard",
            named(&["a.example.com"]).hosts(&["*.example.com"]),
            &["HOST_NOT_COVERED"],
        ),
        ("the name in CN only", changed(&pki, |p| p.subject_alt_names.clear()), &["NAME_ONLY_IN_CN"]),
        (
            "no name at all",
            changed(&pki, |p| {
                p.subject_alt_names.clear();
                p.distinguished_name = rcgen::DistinguishedName::new();
            }),
            &["HOST_NOT_COVERED", "NAME_MISSING"],
        ),
        (
            "an organisation and no name, reached by a listener of its own",
            changed(&pki, |p| {
                p.subject_alt_names.clear();
                p.distinguished_name = rcgen::DistinguishedName::new();
                p.distinguished_name.push(DnType::OrganizationName, "Example");
            })
            .hosts(&[]),
            &["NAME_MISSING"],
        ),
        (
            "an address and no name",
            changed(&pki, |p| {
                p.subject_alt_names = vec![SanType::IpAddress([192, 0, 2, 1].into())];
                p.distinguished_name = rcgen::DistinguishedName::new();
            }),
            &["HOST_NOT_COVERED"],
        ),
        ("a wildcard over a top-level domain", named(&["broker.example.com", "*.com"]), &["WILDCARD_WIDE"]),
        ("little validity left", pki.case().at(now() + Duration::days(79)), &["EXPIRES_SOON"]),
        ("just enough validity left", pki.case().at(now() + Duration::days(50)), &[]),
        (
            "a short life, a third of it gone",
            changed(&pki, |p| {
                p.not_before = now() - Duration::days(2);
                p.not_after = now() + Duration::days(4);
            }),
            &[],
        ),
        (
            "key usage for RSA key transport only",
            changed(&pki, |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
            &["KEY_USAGE_UNFIT"],
        ),
        (
            "must-staple",
            changed(&pki, |p| {
                let feature = CustomExtension::from_oid_content(
                    &[1, 3, 6, 1, 5, 5, 7, 1, 24],
                    vec![0x30, 0x03, 0x02, 0x01, 0x05],
                );
                p.custom_extensions.push(feature);
            }),
            &["MUST_STAPLE"],
        ),
        ("no host", Case { entry_point: Err(NoEntryPoint::NoHost), ..pki.case().hosts(&[]) }, &["NO_WAY_IN"]),
        (
            "a host, and no listener for it",
            Case { entry_point: Err(NoEntryPoint::NoListener), ..pki.case() },
            &["NO_WAY_IN"],
        ),
        (
            "an issuer of another kind of key",
            Case::one_way(ed_leaf.pem.clone() + ed.pem(), ed_leaf.key_pem.clone()),
            &["ISSUER_KEY_KIND_DIFFERS", "ROOT_LEFT_OUT"],
        ),
        (
            "a stranger in the chain",
            Case::one_way(pki.chain() + Authority::new("Stranger").pem(), pki.leaf.key_pem.clone()),
            &["UNRELATED_CERTIFICATE"],
        ),
        (
            "an expired issuer",
            Case::one_way(old_leaf.pem.clone() + old.pem(), old_leaf.key_pem.clone()),
            &["MISSING_INTERMEDIATE", "CHAIN_CERTIFICATE_EXPIRED"],
        ),
        (
            "the leaf twice, and the intermediate three times",
            Case::one_way(pki.chain() + &pki.chain() + pki.intermediate.pem(), pki.leaf.key_pem.clone()),
            &["DUPLICATE_LEFT_OUT"],
        ),
        (
            "a renewal beside the certificate before it, with one key",
            {
                let key = p256();
                let mut old = leaf_params();
                old.not_after = now() - Duration::days(1);
                let old = pki.intermediate.issue(old, &key);
                let new = pki.intermediate.issue(leaf_params(), &key);
                Case::one_way(old.pem + &new.pem + pki.intermediate.pem(), key.serialize_pem())
            },
            &["CHAIN_CERTIFICATE_EXPIRED"],
        ),
    ]);
}

#[test]
fn a_missing_entry_point_is_named_with_its_own_remedy() {
    for (reason, cause, remedy) in [
        (NoEntryPoint::NoHost, "it has no host", "--host NAME"),
        (NoEntryPoint::NoListener, "no shared listener", "[[gateway.listener]]"),
        (NoEntryPoint::NoWebSocketBroker, "no WebSocket broker", "--ws-upstream HOST:PORT"),
    ] {
        let finding = Case { entry_point: Err(reason), ..pki().case() }.judge().findings.remove(0);
        assert!(finding.message.contains(cause), "{}", finding.message);
        assert!(finding.remedy.contains(remedy), "{}", finding.remedy);
        let is_about_hosts = reason == NoEntryPoint::NoHost;
        assert_eq!(finding.message.contains("no host"), is_about_hosts, "{}", finding.message);
        assert_eq!(finding.remedy.contains("a host"), is_about_hosts, "{}", finding.remedy);
        assert!(finding.code.doc().remedy.contains(remedy));
    }
}

#[test]
fn a_self_signed_leaf_beside_a_ca_that_did_not_issue_it_is_named() {
    let pki = pki();
    let key = p256();
    let self_signed = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf_params();
        change(&mut params);
        params.self_signed(&key).unwrap().pem()
    };
    let fresh = self_signed(&|_| {});
    // Names an issuer that did not issue it.
    let namesake = self_signed(&|p| p.distinguished_name.push(DnType::CommonName, "Example Intermediate"));
    let renewed = self_signed(&|p| p.not_after += Duration::days(200));
    let issued = pki.intermediate.issue(leaf_params(), &key).pem;
    let [intermediate, root] = [pki.intermediate.pem(), pki.root.pem()];
    let old = pki.root.intermediate_with("Old Intermediate", |p| p.not_after = now() - Duration::days(1));
    let with = |blocks: &[&str]| Case::one_way(blocks.concat(), key.serialize_pem());
    expect([
        ("alone", with(&[&fresh]), &[] as &[_]),
        (
            "over a chain",
            with(&[&fresh, intermediate, root]),
            &["SELF_SIGNED_BESIDE_CA", "UNRELATED_CERTIFICATE", "UNRELATED_CERTIFICATE"],
        ),
        ("over a root", with(&[&fresh, root]), &["SELF_SIGNED_BESIDE_CA", "UNRELATED_CERTIFICATE"]),
        ("below a chain", with(&[intermediate, &fresh]), &["SELF_SIGNED_BESIDE_CA", "UNRELATED_CERTIFICATE"]),
        (
            "over an intermediate that has expired",
            with(&[&fresh, old.pem()]),
            &["SELF_SIGNED_BESIDE_CA", "CHAIN_CERTIFICATE_EXPIRED"],
        ),
        (
            "over another server's chain",
            with(&[&fresh, &pki.leaf.pem, intermediate]),
            &["SELF_SIGNED_BESIDE_CA", "ANOTHER_LEAF", "UNRELATED_CERTIFICATE"],
        ),
        (
            "with the name of the CA",
            with(&[&namesake, intermediate]),
            &["SELF_SIGNED_BESIDE_CA", "UNRELATED_CERTIFICATE"],
        ),
        (
            "as openssl req -x509 makes it, over a chain",
            with(&[&self_signed(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), intermediate]),
            &["SELF_SIGNED_CA_LEAF", "SELF_SIGNED_BESIDE_CA", "UNRELATED_CERTIFICATE"],
        ),
        ("beside its renewal", with(&[&fresh, &renewed]), &["ANOTHER_LEAF"]),
        ("a placeholder before the CA's", with(&[&fresh, &issued, intermediate]), &["ANOTHER_LEAF"]),
        (
            "a placeholder that is valid for longer",
            with(&[&issued, intermediate, &renewed]),
            &["ANOTHER_LEAF"],
        ),
    ]);
}

#[test]
fn a_self_signed_leaf_over_an_issued_one_is_named() {
    let pki = pki();
    let key = p256();
    let fresh = leaf_params().self_signed(&key).unwrap();
    let older = leaf_params().self_signed(&p256()).unwrap().der().to_vec();
    let issued = leaf_of(&pki.intermediate).der;
    let over = |replaces: Option<&Vec<u8>>, case: Case| Case {
        replaces: replaces.map(|leaf| OldUpload::one_way(leaf)),
        ..case
    };
    let self_signed = || Case::one_way(fresh.pem(), key.serialize_pem());
    expect([
        ("for the first time", over(None, self_signed()), &[] as &[_]),
        ("over a self-signed one", over(Some(&older), self_signed()), &[]),
        ("over one of a CA", over(Some(&issued), self_signed()), &["SELF_SIGNED_OVER_ISSUED"]),
        ("the CA's over the CA's", over(Some(&issued), pki.case()), &[]),
        ("the CA's over a self-signed one", over(Some(&older), pki.case()), &[]),
    ]);
    let finding = over(Some(&issued), self_signed()).judge().findings.remove(0);
    assert!(finding.message.contains("was issued by CN=Example Intermediate"), "{}", finding.message);
}

#[test]
fn an_upload_that_keeps_the_client_trust_has_that_of_the_replaced_one() {
    let pki = pki();
    let (devices, others) = (Authority::new("Devices"), Authority::new("Other devices"));
    let old = Authority::new_with("Devices of old", |p| p.not_after = now() - Duration::days(1));
    let leaf = leaf_of(&pki.intermediate).der;
    let keep = |replaces: Option<OldUpload>| Case { tls_type: Some("keep".into()), replaces, ..pki.case() };
    let two_way = |cas: &[&Authority]| keep(Some(OldUpload::two_way(&leaf, cas)));
    let with_cacert = |cacert: &str| Case { cacert: Some(cacert.into()), ..two_way(&[&devices]) };
    type Trust<'a> = Option<Vec<&'a Authority>>;
    let rows: Vec<(_, _, &[&str], Trust)> = vec![
        ("nothing to keep", keep(None), &["TLS_TYPE_INVALID"], None),
        ("of a one-way one", keep(Some(OldUpload::one_way(&leaf))), &[], None),
        ("of a two-way one", two_way(&[&devices]), &[], Some(vec![&devices])),
        ("several", two_way(&[&others, &devices]), &[], Some(vec![&others, &devices])),
        ("with an empty cacert", with_cacert(" \n"), &[], Some(vec![&devices])),
        ("with another cacert", with_cacert(others.pem()), &["CA_UNEXPECTED"], None),
        ("with the same cacert", with_cacert(devices.pem()), &["CA_UNEXPECTED"], None),
        ("one has expired since", two_way(&[&old, &devices]), &["CA_EXPIRED_LEFT_OUT"], Some(vec![&devices])),
        ("the only one has expired since", two_way(&[&old]), &["CA_EXPIRED"], None),
        (
            "another spelling",
            Case { tls_type: Some("Keep".into()), ..two_way(&[&devices]) },
            &["TLS_TYPE_INVALID"],
            None,
        ),
    ];
    for (name, case, codes, trusted) in rows {
        let trust = case.judge().material.and_then(|material| material.client_trust);
        let anchors = trust.map(|trust| trust.anchors().iter().map(|der| der.to_vec()).collect::<Vec<_>>());
        let trusted = trusted.map(|cas| cas.iter().map(|ca| ca.der().to_vec()).collect::<Vec<_>>());
        assert_eq!(anchors, trusted, "{name}");
        expect([(name, case, codes)]);
    }
}

#[test]
fn too_much_is_refused() {
    let pki = pki();
    let many: String = (0..9).map(|n| Authority::new(&format!("CA {n}")).pem().to_owned()).collect();
    let mut large = leaf_params();
    large.subject_alt_names =
        (0..800).map(|n| dns(&format!("a-rather-long-name-number-{n}.example.com"))).collect();
    let large = pki.intermediate.issue(large, &p256());
    expect([
        (
            "11 certificates",
            Case::one_way(pki.chain() + &many, pki.leaf.key_pem.clone()),
            &["TOO_MANY_CERTIFICATES"] as &[_],
        ),
        ("33 KiB of them", with_chain(&pki, &large), &["CHAIN_TOO_LARGE"]),
        (
            "blocks without end",
            Case {
                cert: Some("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".repeat(300)),
                ..pki.case()
            },
            &["TOO_MANY_BLOCKS"],
        ),
    ]);
}

#[test]
fn client_cas_are_judged() {
    let pki = pki();
    let with = |cas: &[&str]| Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), cas.concat());
    let cannot_sign =
        Authority::new_with("Clients", |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let key = p256();
    let many = |count: usize, name: &str| -> String {
        (0..count)
            .map(|n| {
                let mut params = authority_params("Clients");
                params.distinguished_name.push(DnType::OrganizationName, format!("{name} {n}"));
                params.self_signed(&key).unwrap().pem()
            })
            .collect()
    };
    let clients = Authority::new("Clients");
    let root = clients.pem();
    let one = || Authority::new("One");
    expect([
        ("two CAs of one name", with(&[one().pem(), one().pem()]), &[] as &[_]),
        ("a client's certificate", with(&[&pki.leaf.pem]), &["CA_NOT_CA"]),
        ("a CA and a client's certificate", with(&[root, &pki.leaf.pem]), &["CA_NOT_CA"]),
        ("a CA that may not sign", with(&[cannot_sign.pem()]), &["CA_NOT_CA"]),
        ("the CA's key", with(&[root, &clients.key().serialize_pem()]), &["CA_HOLDS_KEY"]),
        ("only a key", with(&[&pki.leaf.key_pem]), &["CA_HOLDS_KEY"]),
        ("no PEM", with(&["the usual CA"]), &["PEM_MISSING"]),
        ("given twice", with(&[root, root]), &["DUPLICATE_LEFT_OUT"]),
        ("100 of them", with(&[&many(100, "O")]), &[]),
        ("101 of them", with(&[&many(101, "O")]), &["TOO_MANY_CLIENT_CAS"]),
        ("long names", with(&[&many(90, &"O".repeat(400))]), &["CLIENT_CA_NAMES_TOO_LARGE"]),
    ]);
}

#[test]
fn an_expired_client_ca_is_left_out_of_the_trust_where_another_is_valid() {
    let pki = pki();
    let good = Authority::new("Good");
    let old = Authority::new_with("Old", |p| p.not_after = now() - Duration::SECOND);
    let older = Authority::new_with("Older", |p| p.not_after = now() - Duration::days(30));
    let last_second = Authority::new_with("Last Second", |p| p.not_after = now());
    let future = Authority::new_with("Future", |p| p.not_before = now() + Duration::days(1));
    let never = Authority::new_with("Never", |p| {
        p.not_before = now() + Duration::days(1);
        p.not_after = now() - Duration::days(1);
    });
    let device = leaf_of(&good);
    let openssl = Openssl::new();
    openssl.run("genrsa -out weak.key 1024").run(
        "req -x509 -new -key weak.key -days 1 -set_serial 1 -out weak.pem -subj /CN=Weak -addext keyUsage=keyCertSign",
    );
    let weak = openssl.read("weak.pem");
    let with = |cas: &[&str]| Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), cas.concat());
    let rows: Vec<(&'static str, Case, &'static [&'static str], Vec<&Authority>)> = vec![
        ("expired beside a valid one", with(&[old.pem(), good.pem()]), &["CA_EXPIRED_LEFT_OUT"], vec![&good]),
        (
            "two expired beside two valid ones",
            with(&[old.pem(), good.pem(), older.pem(), last_second.pem()]),
            &["CA_EXPIRED_LEFT_OUT", "CA_EXPIRED_LEFT_OUT"],
            vec![&good, &last_second],
        ),
        ("in its last second", with(&[last_second.pem()]), &[], vec![&last_second]),
        (
            "not yet valid beside a valid one",
            with(&[future.pem(), good.pem()]),
            &["CA_NOT_YET_VALID"],
            vec![&future, &good],
        ),
        (
            "expired, valid and not yet valid",
            with(&[old.pem(), good.pem(), future.pem()]),
            &["CA_EXPIRED_LEFT_OUT", "CA_NOT_YET_VALID"],
            vec![&good, &future],
        ),
        (
            "valid at no time, beside a valid one",
            with(&[never.pem(), good.pem()]),
            &["CA_EXPIRED_LEFT_OUT"],
            vec![&good],
        ),
        ("expired alone", with(&[old.pem()]), &["CA_EXPIRED"], vec![]),
        ("two expired", with(&[old.pem(), older.pem()]), &["CA_EXPIRED", "CA_EXPIRED"], vec![]),
        ("not yet valid alone", with(&[future.pem()]), &["CA_NONE_VALID", "CA_NOT_YET_VALID"], vec![]),
        (
            "one expired, one not yet valid",
            with(&[old.pem(), future.pem()]),
            &["CA_EXPIRED", "CA_NONE_VALID", "CA_NOT_YET_VALID"],
            vec![],
        ),
        (
            "a device's certificate makes no CA valid",
            with(&[old.pem(), &device.pem]),
            &["CA_NOT_CA", "CA_EXPIRED"],
            vec![],
        ),
        (
            "expired, and unusable as well",
            with(&[&weak, good.pem()]).at(time::macros::datetime!(2032-01-01 0:00 UTC)),
            &["LEAF_EXPIRED", "CA_EXPIRED_LEFT_OUT"],
            vec![],
        ),
    ];
    for (name, case, codes, trusted) in rows {
        let trust = case.judge().material.and_then(|material| material.client_trust);
        let anchors: Vec<Vec<u8>> =
            trust.iter().flat_map(|trust| trust.anchors()).map(|anchor| anchor.to_vec()).collect();
        assert_eq!(anchors, trusted.iter().map(|ca| ca.der().to_vec()).collect::<Vec<_>>(), "{name}");
        expect([(name, case, codes)]);
    }
    let left_out = with(&[good.pem(), old.pem()]).judge().findings.remove(0);
    let item = left_out.item.expect("the finding names its block");
    assert_eq!((item.index, item.subject.as_deref()), (1, Some("CN=Old")));
}

#[test]
fn the_servers_own_ca_alone_as_the_client_ca_is_questioned() {
    let pki = pki();
    let (devices, namesake) = (Authority::new("Devices"), Authority::new("Example Root"));
    let again = {
        let key = KeyPair::from_pem(&pki.root.key().serialize_pem()).unwrap();
        let mut params = authority_params("Example Root");
        params.not_after += Duration::days(1);
        Authority::from_params(params, key)
    };
    let old = Authority::new_with("Devices of old", |p| p.not_after = now() - Duration::days(1));
    let full = pki.chain() + pki.root.pem();
    let with = |cert: &str, cas: &[&Authority]| {
        let cas: String = cas.iter().map(|ca| ca.pem()).collect();
        Case::two_way(cert, pki.leaf.key_pem.clone(), cas)
    };
    let self_signed = self_signed(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    });
    expect([
        ("its root", with(&pki.chain(), &[&pki.root]), &["CA_IS_SERVERS_OWN"] as &[_]),
        ("its root, in cert as well", with(&full, &[&pki.root]), &["CA_IS_SERVERS_OWN", "ROOT_LEFT_OUT"]),
        ("its intermediate", with(&pki.chain(), &[&pki.intermediate]), &["CA_IS_SERVERS_OWN"]),
        ("both", with(&pki.chain(), &[&pki.intermediate, &pki.root]), &["CA_IS_SERVERS_OWN"]),
        (
            "the leaf's issuer, not in cert",
            with(&pki.leaf.pem, &[&pki.intermediate]),
            &["MISSING_INTERMEDIATE", "CA_IS_SERVERS_OWN"],
        ),
        ("its root, renewed", with(&full, &[&again]), &["CA_IS_SERVERS_OWN", "ROOT_LEFT_OUT"]),
        (
            "beside an expired one",
            with(&pki.chain(), &[&pki.root, &old]),
            &["CA_IS_SERVERS_OWN", "CA_EXPIRED_LEFT_OUT"],
        ),
        (
            "the self-signed leaf itself",
            Case { tls_type: Some("two-way".into()), cacert: self_signed.cert.clone(), ..self_signed },
            &["SELF_SIGNED_CA_LEAF", "CA_IS_SERVERS_OWN"],
        ),
        ("beside the devices'", with(&pki.chain(), &[&pki.root, &devices]), &[]),
        ("another root of its name", with(&pki.chain(), &[&namesake]), &[]),
        ("an intermediate below its root", with(&pki.chain(), &[&pki.root.intermediate("Devices")]), &[]),
    ]);
}

#[test]
fn a_property_that_is_no_text_is_an_error() {
    use certward_pki::{Circumstances, Profile, Text, Upload, judge};
    let upload = Upload {
        tls_type: Text::NotText,
        cert: Text::NotText,
        key: Text::NotText,
        cacert: Text::NotText,
        ..Upload::default()
    };
    let circumstances = Circumstances {
        now: now(),
        hosts: &[],
        entry_point: Ok(()),
        replaces: None,
        profile: Profile::Default,
    };
    let judgement = judge(&upload, &circumstances);
    let codes: Vec<_> = judgement.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["TLS_TYPE_INVALID", "NOT_TEXT", "NOT_TEXT", "NOT_TEXT"]);
    assert!(judgement.material.is_none());
}

#[test]
fn times_that_are_none_are_named() {
    let pki = pki();
    // rcgen writes UTCTime: tag 0x17, 13 characters.
    let place = pki.leaf.der.windows(2).position(|bytes| bytes == [0x17, 13]).unwrap() + 2;
    let with_time = |characters: &[u8; 13]| {
        let mut der = pki.leaf.der.clone();
        der[place..place + 13].copy_from_slice(characters);
        Case::one_way(encode_pem("CERTIFICATE", &der), pki.leaf.key_pem.clone())
    };
    expect([
        ("as it should be", with_time(b"260101000000Z"), &["MISSING_INTERMEDIATE"] as &[_]),
        ("month 13", with_time(b"261301000000Z"), &["VALIDITY_UNREADABLE"]),
        ("30 February", with_time(b"260230000000Z"), &["VALIDITY_UNREADABLE"]),
        ("second 60", with_time(b"260101000060Z"), &["VALIDITY_UNREADABLE"]),
        ("no zone", with_time(b"2601010000000"), &["VALIDITY_UNREADABLE"]),
        ("an offset", with_time(b"2601010000+01"), &["VALIDITY_UNREADABLE"]),
        ("letters", with_time(b"26O1O1000000Z"), &["VALIDITY_UNREADABLE"]),
    ]);
}

#[test]
fn a_subject_that_attacks_its_reader_is_escaped() {
    let mut params = leaf_params();
    params.distinguished_name.push(DnType::OrganizationName, "<script>\r\n\u{1b}[2J'; DROP TABLE\u{202e}");
    let leaf = Authority::new("Root").issue(params, &p256());
    let judgement = Case::one_way(leaf.pem, leaf.key_pem).judge();
    let subject = judgement.findings[0].item.as_ref().unwrap().subject.as_ref().unwrap();
    assert!(subject.contains("DROP TABLE"), "{subject}");
    let is_harmless = |c: char| matches!(c, ' '..='~') && !matches!(c, '<' | '>' | '\'' | '"' | '&');
    assert!(subject.chars().all(is_harmless), "{subject}");
}

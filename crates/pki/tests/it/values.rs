//! Values that other crates receive: bundle, private key, facts.

use certward_pki::{
    Bundle, BundleError, Circumstances, HostName, KeyKind, Material, PrivateKey, Profile, TlsType, Upload,
    describe, judge,
};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::stage::{Case, leaf_params, now, p256, pki};

fn key(der: &[u8]) -> PrivateKey {
    PrivateKey::from_pkcs8_der(Zeroizing::new(der.to_vec()))
}

#[test]
fn a_bundle_is_a_leaf_and_the_key_that_fits_it_or_nothing() {
    let pki = pki();
    let chain = || {
        vec![
            CertificateDer::from(pki.leaf.der.clone()),
            CertificateDer::from(pki.intermediate.der().to_vec()),
        ]
    };
    let bundle = Bundle::new(chain(), key(&pki.leaf.key_der)).unwrap();
    assert_eq!(bundle.chain(), chain());
    assert_eq!(bundle.leaf().as_ref(), pki.leaf.der);
    assert_eq!(bundle.common_name(), Some("broker.example.com"));
    assert_eq!(bundle.not_after() - bundle.not_before(), time::Duration::days(90));
    let rubbish = || vec![CertificateDer::from(vec![0x30, 0x00])];
    for (chain, key, error) in [
        (vec![], key(&pki.leaf.key_der), BundleError::Empty),
        (rubbish(), key(&pki.leaf.key_der), BundleError::UnreadableLeaf),
        (chain(), key(&[]), BundleError::UnusableKey),
        (chain(), key(&pki.leaf.der), BundleError::UnusableKey),
        (chain(), key(&p256().serialize_der()), BundleError::KeyMismatch),
    ] {
        assert_eq!(Bundle::new(chain, key).unwrap_err(), error);
    }
}

#[test]
fn judged_material_can_be_rebuilt_from_its_bytes() {
    let pki = pki();
    let judged = Case::two_way(pki.chain(), pki.leaf.key_pem.clone(), pki.root.pem().to_owned())
        .judge()
        .material
        .unwrap();
    assert_eq!(judged.tls_type(), TlsType::TwoWay);
    let again =
        Bundle::new(judged.bundle.chain().to_vec(), key(judged.bundle.key().expose_pkcs8_der())).unwrap();
    assert_eq!(again.not_after(), judged.bundle.not_after());
}

#[test]
fn stored_material_is_judged_as_its_upload_was() {
    let pki = pki();
    let hosts = [HostName::parse("broker.example.com").unwrap()];
    for kind in [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ] {
        let leaf = pki.intermediate.issue(leaf_params(), &KeyPair::generate_for(kind).unwrap());
        let chain = format!("{}{}", leaf.pem, pki.intermediate.pem());
        for case in [
            Case::one_way(chain.clone(), leaf.key_pem.clone()),
            Case::two_way(chain.clone(), leaf.key_pem.clone(), pki.root.pem()),
        ] {
            let first = case.judge();
            let Material { bundle, client_trust } = first.material.as_ref().unwrap();
            let ders = |certificates: &[CertificateDer<'_>]| -> Vec<Vec<u8>> {
                certificates.iter().map(|certificate| certificate.to_vec()).collect()
            };
            let client_cas = client_trust.as_ref().map_or_else(Vec::new, |trust| ders(trust.anchors()));
            let tls_type = first.material.as_ref().unwrap().tls_type();
            let upload = Upload::of_stored(tls_type, &ders(bundle.chain()), bundle.key(), &client_cas);
            let circumstances = Circumstances {
                now: now(),
                hosts: &hosts,
                entry_point: Ok(()),
                replaces: None,
                profile: Profile::Default,
            };
            let again = judge(&upload, &circumstances);
            assert_eq!(again.findings, first.findings, "{kind:?}");
            let material = again.material.unwrap();
            assert_eq!(material.tls_type(), tls_type);
            assert_eq!(material.bundle.chain(), bundle.chain());
            assert_eq!(material.bundle.key().expose_pkcs8_der(), bundle.key().expose_pkcs8_der());
            let again = material.client_trust.as_ref().map_or_else(Vec::new, |trust| ders(trust.anchors()));
            assert_eq!(again, client_cas);
        }
    }
}

#[test]
fn a_private_key_is_shown_by_no_debug() {
    let pki = pki();
    let material = pki.case().judge().material.unwrap();
    let bytes = format!("{:?}", &pki.leaf.key_der[36..44]);
    let bytes = bytes.trim_matches(['[', ']']);
    for shown in [format!("{material:?}"), format!("{:?}", material.bundle.key())] {
        assert!(shown.contains("redacted") && !shown.contains(bytes), "{shown}");
    }
}

#[test]
fn a_certificate_is_described_for_a_person() {
    let pki = pki();
    let leaf = describe(&pki.leaf.der).unwrap();
    assert_eq!(
        (leaf.subject.as_str(), leaf.issuer.as_str()),
        ("CN=broker.example.com", "CN=Example Intermediate")
    );
    assert_eq!(leaf.names, ["broker.example.com"]);
    assert_eq!((leaf.key_kind, leaf.key_kind.to_string().as_str()), (KeyKind::P256, "ECDSA P-256"));
    assert_eq!((leaf.self_signed, leaf.is_ca, leaf.version), (false, false, 3));
    let root = describe(pki.root.der()).unwrap();
    assert!(!leaf.serial.is_empty() && leaf.serial != root.serial);
    assert_ne!(leaf.key_fingerprint, root.key_fingerprint);
    let renewed = pki.intermediate.issue(leaf_params(), &KeyPair::from_pem(&pki.leaf.key_pem).unwrap());
    let renewed = describe(&renewed.der).unwrap();
    assert_eq!(renewed.key_fingerprint, leaf.key_fingerprint, "the key is the same");
    assert_eq!((root.self_signed, root.is_ca), (true, true));
    assert_eq!(describe(b"no certificate"), None);
}

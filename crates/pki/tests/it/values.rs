//! Values that other crates receive: bundle, private key, facts.

use certward_pki::{Bundle, BundleError, KeyKind, PrivateKey, TlsType, describe};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::stage::{Case, p256, pki};

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
    assert_eq!((root.self_signed, root.is_ca), (true, true));
    assert_eq!(describe(b"no certificate"), None);
}

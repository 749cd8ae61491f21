//! Refusals of the profile `emqx-cloud`.

use certward_pki::Profile;
use rcgen::KeyPair;
use time::Duration;

use crate::stage::{Authority, Case, authority_params, expect, leaf_of, leaf_params, now, pki};

fn emqx_cloud(case: Case) -> Case {
    Case { profile: Profile::EmqxCloud, ..case }
}

#[test]
fn the_profile_emqx_cloud_is_stricter_in_three_things() {
    let pki = pki();
    let kind = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let of_kind = |algorithm| {
        let leaf = pki.intermediate.issue(leaf_params(), &kind(algorithm));
        Case::one_way(leaf.pem + pki.intermediate.pem(), leaf.key_pem)
    };
    let (p384, p521, ed25519) =
        (&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ECDSA_P521_SHA512, &rcgen::PKCS_ED25519);
    let under_rsa = {
        let ca = Authority::from_params(authority_params("RSA"), kind(&rcgen::PKCS_RSA_SHA256));
        let leaf = leaf_of(&ca);
        Case::one_way(leaf.pem + ca.pem(), leaf.key_pem)
    };
    // The leaf expires in 80 days.
    let with_left = |days: i64, seconds: i64| {
        pki.case().at(now() + Duration::days(80 - days) - Duration::seconds(seconds))
    };
    expect([
        ("P-256", emqx_cloud(pki.case()), &[] as &[_]),
        ("P-384", emqx_cloud(of_kind(p384)), &[]),
        ("P-521", emqx_cloud(of_kind(p521)), &["PROFILE_KEY_KIND"]),
        ("P-521 by default", of_kind(p521), &[]),
        ("Ed25519", emqx_cloud(of_kind(ed25519)), &["PROFILE_KEY_KIND", "PROFILE_KEY_KINDS_DIFFER"]),
        ("Ed25519 by default", of_kind(ed25519), &["ISSUER_KEY_KIND_DIFFERS"]),
        (
            "an issuer of another kind",
            emqx_cloud(under_rsa.clone()),
            &["PROFILE_KEY_KINDS_DIFFER", "ROOT_LEFT_OUT"],
        ),
        ("an issuer of another kind by default", under_rsa, &["ISSUER_KEY_KIND_DIFFERS", "ROOT_LEFT_OUT"]),
        ("60 days left", emqx_cloud(with_left(60, 0)), &[]),
        ("a second less", emqx_cloud(with_left(60, -1)), &["PROFILE_VALIDITY_SHORT"]),
        ("a second less by default", with_left(60, -1), &[]),
        ("expired", emqx_cloud(with_left(-1, 0)), &["LEAF_EXPIRED"]),
    ]);
}

#[test]
fn a_profile_is_read_by_its_exact_name() {
    for profile in Profile::ALL {
        assert_eq!(Profile::parse(profile.as_str()), Some(profile));
        assert_eq!(serde_json::to_value(profile).unwrap(), profile.as_str());
    }
    for text in ["", "Default", "EMQX-Cloud", "emqx_cloud", "emqx-cloud "] {
        assert_eq!(Profile::parse(text), None, "{text:?}");
    }
}

//! Properties of any input.

use std::sync::LazyLock;

use base64::Engine as _;
use proptest::prelude::*;

use crate::stage::{Case, Pki, encode_pem, pki};

static PKI: LazyLock<Pki> = LazyLock::new(pki);

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("-----BEGIN CERTIFICATE-----".to_owned()),
        Just("-----END CERTIFICATE-----".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("-----END PRIVATE KEY-----".to_owned()),
        Just("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----".to_owned()),
        Just("Proc-Type: 4,ENCRYPTED\n".to_owned()),
        Just("-----".to_owned()),
        Just("\\n".to_owned()),
        Just("\n".to_owned()),
        Just("...".to_owned()),
        Just(PKI.leaf.pem.clone()),
        Just(PKI.leaf.key_pem.clone()),
        Just(PKI.root.pem().to_owned()),
        "[A-Za-z0-9+/=]{0,80}",
        "\\PC{0,20}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn changed_der(der: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec((0..der.len(), any::<u8>()), 1..4), 0..der.len() + 1).prop_map(
        move |(changes, keep)| {
            let mut der = der.to_vec();
            for (place, byte) in changes {
                der[place] = byte;
            }
            if keep % 4 == 0 {
                der.truncate(keep);
            }
            der
        },
    )
}

/// Few cases by default; `PROPTEST_CASES=20000` for a soak.
fn config() -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 96 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_judged_without_a_panic(cert in pieces(), key in pieces(), cacert in pieces()) {
        Case::two_way(cert, key, cacert).codes();
    }

    #[test]
    fn any_changed_certificate_is_judged_without_a_panic(der in changed_der(&PKI.leaf.der)) {
        let cert = encode_pem("CERTIFICATE", &der) + PKI.intermediate.pem();
        let ca = encode_pem("CERTIFICATE", &der);
        Case::two_way(cert, PKI.leaf.key_pem.clone(), ca).codes();
    }

    #[test]
    fn a_changed_key_serves_only_if_it_is_the_leafs(der in changed_der(&PKI.leaf.key_der)) {
        let case = Case { key: Some(encode_pem("PRIVATE KEY", &der)), ..PKI.case() };
        case.codes();
    }

    #[test]
    fn the_order_of_the_upload_never_decides_what_is_served(
        order in Just(vec![0, 1, 2, 3, 1]).prop_shuffle()
    ) {
        let stranger = STRANGER.pem();
        let blocks = [PKI.leaf.pem.as_str(), PKI.intermediate.pem(), PKI.root.pem(), stranger];
        let cert: String = order.iter().map(|n| blocks[*n]).collect();
        let material = Case::one_way(cert, PKI.leaf.key_pem.clone()).judge().material;
        let chain: Vec<Vec<u8>> = material.unwrap().bundle.chain().iter().map(|der| der.to_vec()).collect();
        prop_assert_eq!(chain, vec![PKI.leaf.der.clone(), PKI.intermediate.der().to_vec()]);
    }

    #[test]
    fn no_finding_ever_holds_a_part_of_the_key(
        field in 0..3_usize,
        cut in 0..400_usize,
        label in "(RSA |EC |ENCRYPTED |OPENSSH |)PRIVATE KEY|CERTIFICATE|SOMETHING",
        noise in "[ \n.-]{0,3}",
        one_line in any::<bool>(),
    ) {
        let secret = base64::engine::general_purpose::STANDARD.encode(&PKI.leaf.key_der);
        let mut body = secret.clone();
        body.insert_str(cut % body.len(), &noise);
        let mut text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        text.truncate(text.len() - cut.min(60));
        if one_line {
            text = text.replace('\n', "");
        }
        let mut case = Case::two_way(PKI.chain(), PKI.leaf.key_pem.clone(), PKI.root.pem().to_owned());
        *[&mut case.cert, &mut case.key, &mut case.cacert][field] = Some(text);
        let judgement = case.judge();
        let said = format!("{judgement:?}{}", serde_json::to_string(&judgement.findings).unwrap());
        for place in 0..secret.len() - 12 {
            prop_assert!(!said.contains(&secret[place..place + 12]), "{}", said);
        }
    }
}

static STRANGER: LazyLock<crate::stage::Authority> =
    LazyLock::new(|| crate::stage::Authority::new("Stranger"));

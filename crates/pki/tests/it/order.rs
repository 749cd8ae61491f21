//! The served chain does not depend on the order of the upload.

use crate::judge::objection;
use crate::stage::{Authority, Case, authority_params, leaf_of, leaf_params, now, p256, pki};

#[test]
fn any_order_is_put_right_and_the_root_left_out() {
    let pki = pki();
    let served = vec![pki.leaf.der.clone(), pki.intermediate.der().to_vec()];
    let blocks = [pki.leaf.pem.as_str(), pki.intermediate.pem(), pki.root.pem()];
    for (order, codes) in [
        ([0, 1, 2], vec!["ROOT_LEFT_OUT"]),
        ([0, 2, 1], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([1, 0, 2], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([1, 2, 0], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([2, 0, 1], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([2, 1, 0], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
    ] {
        let cert: String = order.iter().map(|n| blocks[*n]).collect();
        let case = Case::one_way(cert, pki.leaf.key_pem.clone());
        assert_eq!(case.codes(), codes, "{order:?}");
        assert_eq!(objection(&case, &case.judge()), None, "{order:?}");
        let bundle = case.judge().material.unwrap().bundle;
        assert_eq!(bundle.chain().iter().map(|der| der.to_vec()).collect::<Vec<_>>(), served);
    }
}

#[test]
fn an_issuer_is_found_by_signature_where_two_have_one_name() {
    let (right, wrong) = (Authority::new("Example CA"), Authority::new("Example CA"));
    let leaf = leaf_of(&right);
    let case = Case::one_way(format!("{}{}{}", leaf.pem, wrong.pem(), right.pem()), leaf.key_pem.clone());
    assert_eq!(case.codes(), ["UNRELATED_CERTIFICATE", "ROOT_LEFT_OUT"]);
    assert_eq!(objection(&case, &case.judge()), None);
}

#[test]
fn of_two_self_signed_ca_certificates_of_one_key_the_newer_is_served() {
    let key = p256();
    let made = |days: i64| {
        let mut params = leaf_params();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = now() + time::Duration::days(days);
        params.self_signed(&key).unwrap()
    };
    let (old, new) = (made(40), made(70));
    for cert in [old.pem() + &new.pem(), new.pem() + &old.pem()] {
        let case = Case::one_way(cert, key.serialize_pem());
        assert_eq!(case.codes(), ["SELF_SIGNED_CA_LEAF", "UNRELATED_CERTIFICATE"]);
        assert_eq!(case.judge().material.unwrap().bundle.chain(), [new.der().clone()]);
    }
}

/// As when a public root changes: devices that trust only the old root need the cross certificate,
/// whichever roots were given.
#[test]
fn a_cross_signed_certificate_is_served_whichever_roots_are_given() {
    let old = Authority::new("Old Root");
    let key = p256();
    let new_pem = authority_params("New Root").self_signed(&key).unwrap().pem();
    let cross = old.intermediate_from(authority_params("New Root"), key);
    let intermediate = cross.intermediate("Intermediate");
    let leaf = leaf_of(&intermediate);
    let served = |blocks: &[&str]| {
        let mut chains = Vec::new();
        for turn in 0..blocks.len() {
            let cert: String = blocks.iter().cycle().skip(turn).take(blocks.len()).copied().collect();
            let case = Case::one_way(cert, leaf.key_pem.clone());
            assert_eq!(objection(&case, &case.judge()), None);
            let material = case.judge().material.unwrap();
            chains.push(material.bundle.chain().iter().map(|der| der.to_vec()).collect::<Vec<_>>());
        }
        assert!(chains.iter().all(|chain| *chain == chains[0]));
        chains.swap_remove(0)
    };
    let short = vec![leaf.der.clone(), intermediate.der().to_vec()];
    let long = vec![leaf.der.clone(), intermediate.der().to_vec(), cross.der().to_vec()];
    assert_eq!(served(&[&leaf.pem, intermediate.pem(), &new_pem]), short);
    assert_eq!(served(&[&leaf.pem, intermediate.pem(), cross.pem()]), long);
    assert_eq!(served(&[&leaf.pem, intermediate.pem(), cross.pem(), old.pem()]), long);
    assert_eq!(served(&[&leaf.pem, intermediate.pem(), cross.pem(), &new_pem]), long);
    assert_eq!(served(&[&leaf.pem, intermediate.pem(), cross.pem(), old.pem(), &new_pem]), long);
}

//! Which certificates are served, whatever order they come in.

use crate::stage::{Ca, Case, pki};

#[test]
fn any_order_is_put_right_and_the_root_left_out() {
    let pki = pki();
    let served = vec![pki.leaf.der.clone(), pki.intermediate.der.clone()];
    let blocks = [&pki.leaf.pem, &pki.intermediate.pem, &pki.root.pem];
    for (order, codes) in [
        ([0, 1, 2], vec!["ROOT_LEFT_OUT"]),
        ([0, 2, 1], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([1, 0, 2], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([1, 2, 0], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([2, 0, 1], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
        ([2, 1, 0], vec!["CHAIN_REORDERED", "ROOT_LEFT_OUT"]),
    ] {
        let cert: String = order.iter().map(|n| blocks[*n].as_str()).collect();
        let case = Case::one_way(cert, pki.leaf.key.clone());
        assert_eq!(case.codes(), codes, "{order:?}");
        let bundle = case.judge().material.unwrap().bundle;
        assert_eq!(bundle.chain().iter().map(|der| der.to_vec()).collect::<Vec<_>>(), served);
    }
}

#[test]
fn an_issuer_is_found_by_signature_where_two_have_one_name() {
    let (right, wrong) = (Ca::root("Example CA"), Ca::root("Example CA"));
    let leaf = right.leaf();
    let case = Case::one_way(format!("{}{}{}", leaf.pem, wrong.pem, right.pem), leaf.key.clone());
    assert_eq!(case.codes(), ["UNRELATED_CERTIFICATE", "ROOT_LEFT_OUT"]);
}

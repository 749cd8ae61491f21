//! The corpus of chains.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType,
};
use time::Duration;

use crate::judge::verify;
use crate::stage::{
    Authority, Case, Leaf, authority_params, dns, encode_pem, expect, leaf_of, leaf_params, now, p256, pki,
};

fn changed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = authority_params(name);
    change(&mut params);
    params
}

fn path_len(most: u8) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most))
}

fn case(leaf: &Leaf, above: &[&Authority]) -> Case {
    let cert: String = std::iter::once(leaf.pem.as_str()).chain(above.iter().map(|ca| ca.pem())).collect();
    Case::one_way(cert, leaf.key_pem.clone())
}

#[test]
fn a_path_that_is_longer_than_a_ca_allows_is_refused() {
    let root = Authority::new("Root");
    let (zero, one) =
        (root.intermediate_with("Zero", path_len(0)), root.intermediate_with("One", path_len(1)));
    let strict_root = Authority::new_with("Strict Root", path_len(0));
    let (below_zero, below_one) = (zero.intermediate("Below Zero"), one.intermediate("Below One"));
    let below_strict = strict_root.intermediate("Below Strict");
    // The CA's new key, signed by its old one, has its name and is not counted.
    let renamed = zero.intermediate_with("Zero", |p| p.use_authority_key_identifier_extension = true);
    expect([
        ("none between", case(&leaf_of(&zero), &[&zero, &root]), &["ROOT_LEFT_OUT"] as &[_]),
        (
            "one too many",
            case(&leaf_of(&below_zero), &[&below_zero, &zero, &root]),
            &["PATH_LENGTH_EXCEEDED", "ROOT_LEFT_OUT"],
        ),
        (
            "the same without the root",
            case(&leaf_of(&below_zero), &[&below_zero, &zero]),
            &["PATH_LENGTH_EXCEEDED"],
        ),
        ("as many as allowed", case(&leaf_of(&below_one), &[&below_one, &one]), &[]),
        (
            "two of them",
            {
                let lowest = below_one.intermediate("Lowest");
                case(&leaf_of(&lowest), &[&lowest, &below_one, &one])
            },
            &["PATH_LENGTH_EXCEEDED"],
        ),
        (
            "a root that allows none",
            case(&leaf_of(&below_strict), &[&below_strict, &strict_root]),
            &["PATH_LENGTH_EXCEEDED", "ROOT_LEFT_OUT"],
        ),
        ("one of its own name is not counted", case(&leaf_of(&renamed), &[&renamed, &zero]), &[]),
    ]);
}

#[test]
fn of_two_ways_up_the_one_that_clients_accept_is_served() {
    let root = Authority::new("Root");
    let key = || KeyPair::from_pem(KEY.with(|key| key.serialize_pem()).as_str()).unwrap();
    thread_local!(static KEY: KeyPair = p256());
    // The same CA twice: one of them may not be above a CA.
    let strict = root.intermediate_from(changed("Upper", path_len(0)), key());
    let free = root.intermediate_from(changed("Upper", |p| p.not_after = now() + Duration::days(300)), key());
    let lower = strict.intermediate("Lower");
    let leaf = leaf_of(&lower);
    let both = case(&leaf, &[&lower, &strict, &free]);
    expect([
        ("both", both.clone(), &["CROSS_SIGNED_LEFT_OUT"] as &[_]),
        ("the strict one alone", case(&leaf, &[&lower, &strict]), &["PATH_LENGTH_EXCEEDED"]),
    ]);
    let chain =
        both.judge().material.unwrap().bundle.chain().iter().map(|der| der.to_vec()).collect::<Vec<_>>();
    assert_eq!(chain, [leaf.der.clone(), lower.der().to_vec(), free.der().to_vec()]);
}

#[test]
fn names_that_a_ca_may_not_issue_for_are_refused() {
    let constrained = |permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>| {
        let constraints = NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded };
        Authority::new("Root").intermediate_with("CA", |p| p.name_constraints = Some(constraints))
    };
    let name = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let under = |ca: &Authority, names: Vec<SanType>| {
        let mut params = leaf_params();
        params.subject_alt_names = names;
        case(&ca.issue(params, &p256()), &[ca])
    };
    let example = constrained(vec![name("example.com")], vec![]);
    let other = constrained(vec![name("example.org"), name("example.net")], vec![]);
    let sub = constrained(vec![], vec![name("broker.example.com")]);
    let ip = constrained(
        vec![GeneralSubtree::IpAddress(CidrSubnet::V4([192, 0, 2, 0], [255, 255, 255, 0]))],
        vec![],
    );
    let broker = || vec![dns("broker.example.com")];
    let address = |last| SanType::IpAddress(std::net::IpAddr::from([192, 0, last, 1]));
    let both = |last| vec![dns("broker.example.com"), address(last)];
    let root = {
        let constraints =
            NameConstraints { permitted_subtrees: vec![name("example.org")], excluded_subtrees: vec![] };
        Authority::new_with("Root", |p| p.name_constraints = Some(constraints))
    };
    expect([
        ("permitted", under(&example, broker()), &[] as &[_]),
        ("permitted, a wildcard", under(&example, vec![dns("*.example.com")]), &[]),
        (
            "one of two names is not permitted",
            under(&example, vec![dns("broker.example.com"), dns("a.example.org")]),
            &["NAME_CONSTRAINT_VIOLATED"],
        ),
        ("not permitted", under(&other, broker()), &["NAME_CONSTRAINT_VIOLATED"]),
        (
            "ends alike",
            under(&constrained(vec![name("ample.com")], vec![]), broker()),
            &["NAME_CONSTRAINT_VIOLATED"],
        ),
        ("excluded", under(&sub, broker()), &["NAME_CONSTRAINT_VIOLATED"]),
        ("not excluded", under(&sub, vec![dns("b.example.com")]).hosts(&[]), &[]),
        ("another form of name is free", under(&ip, broker()), &[]),
        ("a permitted address", under(&ip, both(2)), &[]),
        ("another address", under(&ip, both(3)), &["NAME_CONSTRAINT_VIOLATED"]),
        ("by the root", case(&leaf_of(&root), &[&root]), &["NAME_CONSTRAINT_VIOLATED", "ROOT_LEFT_OUT"]),
        (
            "more than clients compare",
            {
                let many = constrained((0..1100).map(|n| name(&format!("{n}.b"))).collect(), vec![]);
                under(&many, (0..1100).map(|n| dns(&format!("{n}.b"))).collect()).hosts(&[])
            },
            &["NAME_CONSTRAINT_VIOLATED"],
        ),
    ]);
}

#[test]
fn an_issuer_that_may_not_issue_for_servers_is_named() {
    let root = Authority::new("Root");
    let with = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        root.intermediate_with("CA", |p| p.extended_key_usages = purposes)
    };
    let clients = with(vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let servers = with(vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let any = with(vec![ExtendedKeyUsagePurpose::Any]);
    let no_ca = root.intermediate_with("No CA", |p| p.is_ca = IsCa::ExplicitNoCa);
    let no_signing = root.intermediate_with("No Signing", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
    expect([
        ("for servers", case(&leaf_of(&servers), &[&servers]), &[] as &[_]),
        ("for any purpose", case(&leaf_of(&any), &[&any]), &["PURPOSE_ANY"]),
        ("for clients only", case(&leaf_of(&clients), &[&clients]), &["ISSUER_NOT_FOR_SERVERS"]),
        ("no CA at all", case(&leaf_of(&no_ca), &[&no_ca]), &["MISSING_INTERMEDIATE", "ISSUER_NOT_CA"]),
        (
            "a CA that may not sign certificates",
            case(&leaf_of(&no_signing), &[&no_signing]),
            &["MISSING_INTERMEDIATE", "ISSUER_NOT_CA"],
        ),
    ]);
}

#[test]
fn an_intermediate_whose_signature_is_broken_is_refused_where_it_is_sure() {
    let pki = pki();
    let mut der = pki.intermediate.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let broken = encode_pem("CERTIFICATE", &der);
    let identified = pki.root.intermediate_from(
        changed("Example Intermediate", |p| p.use_authority_key_identifier_extension = true),
        KeyPair::from_pem(&pki.intermediate.key().serialize_pem()).unwrap(),
    );
    let mut der = identified.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let broken_and_identified = encode_pem("CERTIFICATE", &der);
    let with = |blocks: &[&str]| Case::one_way(blocks.concat(), pki.leaf.key_pem.clone());
    let (leaf, root) = (pki.leaf.pem.as_str(), pki.root.pem());
    expect([
        (
            "it names the issuer's key",
            with(&[leaf, &broken_and_identified, root]),
            &["CHAIN_SIGNATURE_BROKEN"] as &[_],
        ),
        ("the same without its issuer", with(&[leaf, &broken_and_identified]), &[]),
        ("by name only, it may be another CA's", with(&[leaf, &broken, root]), &["UNRELATED_CERTIFICATE"]),
        (
            "a sound one beside it leads farther",
            with(&[leaf, &broken_and_identified, identified.pem(), root]),
            &["CROSS_SIGNED_LEFT_OUT", "ROOT_LEFT_OUT"],
        ),
    ]);
}

#[test]
fn sets_are_sorted_out() {
    let pki = pki();
    let old = Authority::new("Old Root");
    let key = p256();
    let again = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let new_pem = authority_params("New Root").self_signed(&key).unwrap().pem();
    let cross = old.intermediate_from(authority_params("New Root"), again);
    let intermediate = cross.intermediate("Intermediate");
    let leaf = leaf_of(&intermediate);
    let set = |blocks: &[&str]| {
        Case::one_way(
            [&[leaf.pem.as_str(), intermediate.pem()], blocks].concat().concat(),
            leaf.key_pem.clone(),
        )
    };
    let second = leaf_of(&pki.intermediate);
    let crl = encode_pem("X509 CRL", &[0x30, 0x00]);
    expect([
        (
            "cross-signed, both roots",
            set(&[cross.pem(), old.pem(), &new_pem]),
            &["ROOT_LEFT_OUT", "ROOT_LEFT_OUT"] as &[_],
        ),
        ("cross-signed, the new root", set(&[cross.pem(), &new_pem]), &["ROOT_LEFT_OUT"]),
        ("cross-signed, the old root", set(&[cross.pem(), old.pem()]), &["ROOT_LEFT_OUT"]),
        ("cross-signed, no root", set(&[cross.pem()]), &[]),
        ("two leaves", Case::one_way(pki.chain() + &second.pem, pki.leaf.key_pem.clone()), &["ANOTHER_LEAF"]),
        (
            "two leaves, the other first",
            Case::one_way(second.pem.clone() + &pki.chain(), pki.leaf.key_pem.clone()),
            &["ANOTHER_LEAF"],
        ),
        (
            "two leaves, without a key for either",
            Case::one_way(pki.chain() + &second.pem, p256().serialize_pem()),
            &["KEY_MISMATCH", "ANOTHER_LEAF"],
        ),
        (
            "a renewal with the same key, both valid",
            {
                let key = p256();
                let mut newer = leaf_params();
                newer.not_after += Duration::days(1);
                let older = pki.intermediate.issue(leaf_params(), &key).pem;
                let newer = pki.intermediate.issue(newer, &key).pem;
                Case::one_way(older + &newer + pki.intermediate.pem(), key.serialize_pem())
            },
            &["ANOTHER_LEAF"],
        ),
        ("a CRL inside", Case::one_way(pki.chain() + &crl, pki.leaf.key_pem.clone()), &["FORMAT_CRL"]),
        (
            "a chain of one without the issuers above",
            case(&pki.leaf, &[&pki.root, &old]),
            &["MISSING_INTERMEDIATE", "UNRELATED_CERTIFICATE", "UNRELATED_CERTIFICATE"],
        ),
    ]);
}

/// OpenSSL as a client that trusts one root only.
#[test]
fn the_cross_signed_certificate_of_a_root_is_served_beside_that_root() {
    let old = Authority::new("Old Root");
    let key = p256();
    let key_again = || KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let new = Authority::from_params(authority_params("New Root"), key_again());
    let cross = old.intermediate_from(authority_params("New Root"), key_again());
    let older = Authority::new("Older Root");
    let old_key = KeyPair::from_pem(&old.key().serialize_pem()).unwrap();
    let cross_of_old = older.intermediate_from(authority_params("Old Root"), old_key);
    let intermediate = new.intermediate("Intermediate");
    let expired =
        old.intermediate_from(changed("New Root", |p| p.not_after = now() - Duration::days(1)), key_again());
    let too_short = old.intermediate_from(changed("New Root", path_len(0)), key_again());
    let (leaf, direct) = (leaf_of(&intermediate), leaf_of(&new));
    let [i, n, c, o] = [&intermediate, &new, &cross, &old];
    type Row<'a> =
        (&'a str, &'a Leaf, Vec<&'a Authority>, Vec<&'a Authority>, &'a [&'a str], Vec<&'a Authority>);
    let left_out = &["ROOT_LEFT_OUT"] as &[_];
    let both = &["ROOT_LEFT_OUT", "ROOT_LEFT_OUT"] as &[_];
    let reordered = &["CHAIN_REORDERED", "ROOT_LEFT_OUT"] as &[_];
    let rows: [Row<'_>; 10] = [
        ("the new root in front of it", &leaf, vec![i, n, c], vec![i, c], left_out, vec![n, o]),
        ("the new root behind it", &leaf, vec![i, c, n], vec![i, c], left_out, vec![n, o]),
        ("both roots", &leaf, vec![i, c, o, n], vec![i, c], both, vec![n, o]),
        ("upside down", &leaf, vec![n, c, i], vec![i, c], reordered, vec![n, o]),
        ("no root", &leaf, vec![i, c], vec![i, c], &[], vec![n, o]),
        ("directly below", &direct, vec![n, c], vec![c], left_out, vec![n, o]),
        (
            "the old root is cross-signed as well",
            &leaf,
            vec![i, n, c, o, &cross_of_old],
            vec![i, c, &cross_of_old],
            both,
            vec![n, o, &older],
        ),
        (
            "it has expired",
            &leaf,
            vec![i, n, &expired],
            vec![i],
            &["CHAIN_CERTIFICATE_EXPIRED", "ROOT_LEFT_OUT"],
            vec![n],
        ),
        (
            "it does not allow the intermediate",
            &leaf,
            vec![i, n, &too_short],
            vec![i],
            &["CROSS_SIGNED_LEFT_OUT", "ROOT_LEFT_OUT"],
            vec![n],
        ),
        ("the new root alone", &leaf, vec![i, n], vec![i], left_out, vec![n]),
    ];
    for (name, leaf, given, served, codes, trusted) in rows {
        let case = case(leaf, &given);
        let chain: Vec<Vec<u8>> = case.judge().material.map_or_else(Vec::new, |material| {
            material.bundle.chain().iter().skip(1).map(|der| der.to_vec()).collect()
        });
        assert_eq!(chain, served.iter().map(|ca| ca.der().to_vec()).collect::<Vec<_>>(), "{name}");
        let untrusted: String = served.iter().map(|ca| ca.pem()).collect();
        for root in trusted {
            let verdict = verify(&case, &leaf.der, &untrusted, root.der(), &[]);
            assert!(verdict.is_empty(), "{name}: {verdict}");
        }
        expect([(name, case, codes)]);
    }
}

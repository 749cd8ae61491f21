//! Whether devices that hold the root of one chain can verify another.

use certward_pki::{HostName, RootChange, ServedChain};
use certward_test_support::{Authority, Leaf, authority_params, server_params};
use rcgen::{CertificateParams, KeyIdMethod, KeyPair};
use time::macros::datetime;

use crate::openssl::{Openssl, V3};

const HOST: &str = "broker.example.com";

/// With key identifiers, as public CAs make them.
fn issued(ca: &Authority) -> Leaf {
    ca.server_with(&[HOST], |params| params.use_authority_key_identifier_extension = true)
}

fn with_key_ids(params: &mut CertificateParams) {
    params.use_authority_key_identifier_extension = true;
}

fn ca(name: &str) -> Authority {
    Authority::new_with(name, with_key_ids)
}

fn sub(of: &Authority, name: &str) -> Authority {
    of.intermediate_with(name, with_key_ids)
}

fn chain(leaf: &Leaf) -> ServedChain {
    let chain: Vec<&Vec<u8>> = std::iter::once(&leaf.der).chain(&leaf.intermediates).collect();
    ServedChain::read(&chain).unwrap()
}

fn without_issuers(leaf: Leaf) -> Leaf {
    Leaf { intermediates: Vec::new(), ..leaf }
}

fn same_key(key: &KeyPair) -> KeyPair {
    KeyPair::from_pem(&key.serialize_pem()).unwrap()
}

/// As the public CA of the Internet Security Research Group did in 2024 and 2025.
#[test]
fn intermediates_that_rotate_under_one_root_are_no_change() {
    let x1 = ca("ISRG Root X1");
    let [r3, r10, r11, e5, e6] = ["R3", "R10", "R11", "E5", "E6"].map(|name| sub(&x1, name));
    let year = [&r3, &r3, &r3, &r10, &r11, &r11, &r10, &e5, &e6, &e5, &e6, &r10];
    let chains = year.map(|issuer| chain(&issued(issuer)));
    for (month, old) in chains.iter().enumerate() {
        for (later, new) in chains.iter().enumerate() {
            assert_eq!(old.root_change(new), None, "{month} to {later}");
        }
    }
}

#[test]
fn a_chain_to_another_root_is_a_change() {
    let (x1, x2, other) = (ca("X1"), ca("X2"), ca("other"));
    let e5 = sub(&x2, "E5");
    // X2, also issued by the older X1, for devices that know only that.
    let mut params = authority_params("X2");
    with_key_ids(&mut params);
    let x2_by_x1 = x1.intermediate_from(params.clone(), same_key(x2.key()));
    let mut e5_params = authority_params("E5");
    with_key_ids(&mut e5_params);
    let e5_by_x1 = x2_by_x1.intermediate_from(e5_params, same_key(e5.key()));
    let short = || issued(&e5);
    let long = || issued(&e5_by_x1);
    assert_eq!((short().intermediates.len(), long().intermediates.len()), (1, 2));

    let own = |name: &str| {
        let mut params = server_params(name, &[HOST]);
        with_key_ids(&mut params);
        params
    };
    let own_key = KeyPair::generate().unwrap();
    let self_signed = |params: CertificateParams, key: &KeyPair| {
        let of_key = Authority::from_params(params, same_key(key));
        Leaf { der: of_key.der().to_vec(), intermediates: Vec::new(), ..short() }
    };
    let first = || self_signed(own("broker"), &own_key);
    let renewed = || {
        let mut params = own("broker");
        params.not_after = datetime!(2045-01-01 0:00 UTC);
        self_signed(params, &own_key)
    };
    let rekeyed = || self_signed(own("broker"), &KeyPair::generate().unwrap());
    // A CA of the self-signed certificate's key and name, and one of its name.
    let mut as_ca = authority_params("broker");
    with_key_ids(&mut as_ca);
    let own_ca = Authority::from_params(as_ca.clone(), same_key(&own_key));
    let namesake_ca = Authority::from_params(as_ca, KeyPair::generate().unwrap());
    let namesake = ca("X2");
    // Keys without identifiers: the name is all there is.
    let unnamed = |name: &str| Authority::new(name).server(&[HOST]);
    let other_id = |params: &mut CertificateParams| {
        params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20])
    };

    let cases = [
        ("the same CA", short(), short(), None),
        ("another CA", short(), issued(&other), Some(("CN=X2", "CN=other"))),
        (
            "another CA, below an intermediate",
            short(),
            issued(&sub(&other, "E5")),
            Some(("CN=X2", "CN=other")),
        ),
        ("an intermediate more", issued(&x2), short(), None),
        ("an intermediate less", short(), issued(&x2), None),
        ("a CA of the root's name", issued(&x2), issued(&namesake), Some(("CN=X2", "CN=X2"))),
        ("a CA of the root's name, above", short(), issued(&sub(&namesake, "E5")), Some(("CN=X2", "CN=X2"))),
        ("cross-signed since", short(), long(), None),
        // Devices that know X1 only cannot verify it any more.
        ("not cross-signed any more", long(), short(), Some(("CN=X1", "CN=X2"))),
        ("complete since", without_issuers(short()), short(), None),
        // Devices verified E5 with X2, and have no E5.
        ("incomplete since", short(), without_issuers(short()), Some(("CN=X2", "CN=E5"))),
        ("incomplete as before", without_issuers(short()), without_issuers(short()), None),
        (
            "incomplete, of another intermediate",
            without_issuers(short()),
            without_issuers(issued(&sub(&x2, "E6"))),
            Some(("CN=E5", "CN=E6")),
        ),
        ("self-signed, renewed with its key", first(), renewed(), None),
        ("self-signed, with another key", first(), rekeyed(), Some(("CN=broker", "CN=broker"))),
        ("self-signed, then issued", first(), short(), Some(("CN=broker", "CN=X2"))),
        ("issued, then self-signed", short(), first(), Some(("CN=X2", "CN=broker"))),
        ("issued by what was self-signed", first(), issued(&own_ca), None),
        ("issued by its namesake", first(), issued(&namesake_ca), Some(("CN=broker", "CN=broker"))),
        ("without key identifiers, of one name", unnamed("old"), unnamed("old"), None),
        ("without key identifiers, of two", unnamed("old"), unnamed("new"), Some(("CN=old", "CN=new"))),
        (
            "a root renewed with its key and another identifier",
            issued(&x2),
            {
                let mut params = params;
                other_id(&mut params);
                issued(&sub(&Authority::from_params(params, same_key(x2.key())), "E7"))
            },
            Some(("CN=X2", "CN=X2")),
        ),
    ];
    for (case, old, new, change) in cases {
        let found = chain(&old).root_change(&chain(&new));
        let names = found.as_ref().map(|RootChange { from, to }| {
            let name = |text: &'_ str| text.split(" (key ").next().unwrap().to_owned();
            (name(from), name(to))
        });
        let expected = change.map(|(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(names, expected, "{case}");
        if let Some(RootChange { from, to }) = found {
            assert_ne!(from, to, "{case}");
        }
    }
}

/// The two CAs of the public EMQX recipe have one name.
#[test]
fn only_key_identifiers_tell_roots_of_one_name_apart() {
    let openssl = Openssl::new();
    openssl.ca("first").ca("second").p256("leaf");
    let leaf_of = |ca: &str| {
        openssl.sign("leaf", ca, V3);
        chain(&Leaf::from_pem(&openssl.read("leaf.pem"), &openssl.read("leaf.key")))
    };
    let change = leaf_of("first").root_change(&leaf_of("second")).unwrap();
    openssl.run("x509 -in second.pem -noout -ext subjectKeyIdentifier -out printed");
    let key_id = openssl.read("printed").lines().nth(1).unwrap().trim().replace(':', "").to_lowercase();
    assert_eq!(change.to, format!("C=CN, O=EMQ, CN=emqx (key {key_id})"));
    assert_eq!(leaf_of("first").root_change(&leaf_of("first")), None);
    let config = openssl.read("openssl.cnf");
    openssl.write("openssl.cnf", &config.replace("[v3_req]", "[v3_req]\nauthorityKeyIdentifier = none"));
    assert_eq!(leaf_of("first").root_change(&leaf_of("second")), None);
}

#[test]
fn a_chain_covers_the_hosts_of_its_leafs_names() {
    let covers = |names: &[&str], host: &str| {
        chain(&Authority::new("root").server(names)).covers(&HostName::parse(host).unwrap())
    };
    for (names, host, is_covered) in [
        (&["a.example.com"][..], "a.example.com", true),
        (&["a.example.com"], "b.example.com", false),
        (&["b.example.com", "*.example.com"], "a.example.com", true),
        (&["*.example.com"], "a.b.example.com", false),
        (&["*.example.com"], "example.com", false),
        (&["A.Example.com"], "a.example.com", true),
    ] {
        assert_eq!(covers(names, host), is_covered, "{names:?} {host}");
    }
}

//! Certificate policies (RFC 5280 §6.1), after NIST's PKITS. `openssl verify -policy_check` judges
//! each case; an upload of the same chain gets the same verdict.

use certward_pki::ClientRefusal;
use rustls::Error;

use crate::clients::{VERSIONS, handshake, verifier};
use crate::openssl::{Openssl, one_way};
use crate::salts::damaged;

/// Extensions of the intermediates, top down, and of the leaf; validity.
type Row = (&'static str, &'static [&'static str], &'static str, bool);

const NONE: &str = "";
const P1: &str = "certificatePolicies=critical,1.2.3.1";
const P2: &str = "certificatePolicies=critical,1.2.3.2";
const P1_P2: &str = "certificatePolicies=critical,1.2.3.1,1.2.3.2";
const ANY: &str = "certificatePolicies=critical,2.5.29.32.0";
const EXPLICIT: &str =
    "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0";
const EXPLICIT_ANY: &str =
    "certificatePolicies=critical,2.5.29.32.0\npolicyConstraints=critical,requireExplicitPolicy:0";
const P1_IS_P2: &str = "certificatePolicies=critical,1.2.3.1\npolicyMappings=critical,1.2.3.1:1.2.3.2";

const ROWS: &[Row] = &[
    // 4.8: certificate policies.
    ("a policy of all", &[P1], P1, true),
    ("a policy of the leaf alone, none demanded", &[NONE], P1, true),
    ("two policies, none in common, none demanded", &[P1], P2, true),
    ("any policy of the leaf", &[P1], ANY, true),
    ("any policy of all", &[ANY, ANY], ANY, true),
    (
        "beside other extensions that are known",
        &[
            "certificatePolicies=critical,1.2.3.1\ncrlDistributionPoints=critical,URI:http://example.com/crl\nnameConstraints=critical,permitted;DNS:example.com",
        ],
        "certificatePolicies=critical,1.2.3.1\ncrlDistributionPoints=critical,URI:http://example.com/crl\nextendedKeyUsage=critical,clientAuth,serverAuth",
        true,
    ),
    ("not critical and critical", &["certificatePolicies=1.2.3.1"], P1, true),
    // 4.9: require explicit policy.
    ("demanded and there", &[EXPLICIT], P1, true),
    ("demanded and there, two CAs", &[EXPLICIT, P1], P1, true),
    ("demanded and another", &[EXPLICIT], P2, false),
    ("demanded and none", &[EXPLICIT], NONE, false),
    ("demanded and none of an intermediate", &[EXPLICIT, NONE], P1, false),
    ("one of two in common", &[EXPLICIT, P1_P2], P1, true),
    ("another of two", &[EXPLICIT, P1_P2], P2, false),
    ("demanded below the leaf", &["policyConstraints=critical,requireExplicitPolicy:3"], NONE, true),
    ("demanded at the leaf's end", &["policyConstraints=critical,requireExplicitPolicy:1"], NONE, false),
    ("demanded two CAs down", &["policyConstraints=critical,requireExplicitPolicy:2", NONE], NONE, false),
    ("demanded not yet", &["policyConstraints=critical,requireExplicitPolicy:5", NONE, NONE], NONE, true),
    (
        "demanded sooner by the second",
        &[
            "policyConstraints=critical,requireExplicitPolicy:7",
            "policyConstraints=critical,requireExplicitPolicy:0",
        ],
        NONE,
        false,
    ),
    ("demanded by the leaf of itself", &[NONE], "policyConstraints=critical,requireExplicitPolicy:0", false),
    ("any policy where one is demanded", &[EXPLICIT_ANY], P1, true),
    ("any policy of the leaf where one is demanded", &[EXPLICIT], ANY, true),
    ("demanded, and any policy in the middle", &[EXPLICIT, ANY], P1, true),
    ("demanded, and any policy in the middle, another below", &[EXPLICIT, ANY], P2, false),
    // 4.10: policy mappings.
    (
        "mapped",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyMappings=critical,1.2.3.1:1.2.3.2\npolicyConstraints=critical,requireExplicitPolicy:0",
        ],
        P2,
        true,
    ),
    (
        "mapped away",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyMappings=critical,1.2.3.1:1.2.3.2\npolicyConstraints=critical,requireExplicitPolicy:0",
        ],
        P1,
        false,
    ),
    ("mapped in the middle", &[EXPLICIT, P1_IS_P2], P2, true),
    ("mapped in the middle, and not taken", &[EXPLICIT, P1_IS_P2], P1, false),
    (
        "mapped to two",
        &[
            EXPLICIT,
            "certificatePolicies=critical,1.2.3.1\npolicyMappings=critical,1.2.3.1:1.2.3.2,1.2.3.1:1.2.3.3",
        ],
        "certificatePolicies=critical,1.2.3.3",
        true,
    ),
    (
        "mapped from any policy",
        &["certificatePolicies=critical,2.5.29.32.0\npolicyMappings=critical,2.5.29.32.0:1.2.3.1"],
        P1,
        false,
    ),
    (
        "mapped to any policy",
        &["certificatePolicies=critical,1.2.3.1\npolicyMappings=critical,1.2.3.1:2.5.29.32.0"],
        P1,
        false,
    ),
    (
        "mapped where any policy stands",
        &[EXPLICIT_ANY, "certificatePolicies=critical,2.5.29.32.0\npolicyMappings=critical,1.2.3.1:1.2.3.2"],
        P2,
        true,
    ),
    (
        "mapped twice over",
        &[
            EXPLICIT,
            P1_IS_P2,
            "certificatePolicies=critical,1.2.3.2\npolicyMappings=critical,1.2.3.2:1.2.3.3",
        ],
        "certificatePolicies=critical,1.2.3.3",
        true,
    ),
    // 4.11: inhibit policy mapping.
    (
        "mappings not allowed",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0,inhibitPolicyMapping:0",
            P1_IS_P2,
        ],
        P2,
        false,
    ),
    (
        "one mapping allowed",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0,inhibitPolicyMapping:1",
            P1_IS_P2,
        ],
        P2,
        true,
    ),
    (
        "a second mapping not allowed",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0,inhibitPolicyMapping:1",
            P1_IS_P2,
            "certificatePolicies=critical,1.2.3.2\npolicyMappings=critical,1.2.3.2:1.2.3.3",
        ],
        "certificatePolicies=critical,1.2.3.3",
        false,
    ),
    // 4.12: inhibit any policy.
    (
        "any policy not allowed",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0\ninhibitAnyPolicy=critical,0",
        ],
        ANY,
        false,
    ),
    (
        "any policy not allowed, and not needed",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0\ninhibitAnyPolicy=critical,0",
        ],
        P1,
        true,
    ),
    (
        "any policy allowed once",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0\ninhibitAnyPolicy=critical,1",
            ANY,
        ],
        P1,
        true,
    ),
    (
        "any policy allowed once, and used twice",
        &[
            "certificatePolicies=critical,1.2.3.1\npolicyConstraints=critical,requireExplicitPolicy:0\ninhibitAnyPolicy=critical,1",
            ANY,
        ],
        ANY,
        false,
    ),
];

/// The path's file names, leaf first.
fn path(openssl: &Openssl, intermediates: &[&str], leaf: &str) -> Vec<String> {
    let mut issuer = "root".to_owned();
    let mut path = Vec::new();
    for (number, extensions) in intermediates.iter().enumerate() {
        let name = format!("sub{number}");
        let usual = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n";
        openssl.write("extensions", &with_usual(usual, extensions));
        openssl.p256(&name).sign(&name, &issuer, "-sha256 -extfile extensions");
        path.insert(0, format!("{name}.pem"));
        issuer = name;
    }
    let usual = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:broker.example.com\n";
    openssl.write("extensions", &with_usual(usual, leaf));
    openssl.sign("leaf", &issuer, "-sha256 -extfile extensions");
    path.insert(0, "leaf.pem".to_owned());
    path
}

/// Unless `extensions` configure a CA.
fn with_usual(usual: &str, extensions: &str) -> String {
    let usual = if extensions.contains("basicConstraints") { "" } else { usual };
    format!("{usual}{extensions}\n")
}

fn stage() -> Openssl {
    let openssl = Openssl::new();
    openssl
        .p256("root")
        .run("req -x509 -new -key root.key -days 3650 -out root.pem -subj /CN=root")
        .p256("leaf");
    openssl
}

#[test]
fn policies_are_processed_for_devices_and_uploads_as_openssl_does() {
    let openssl = stage();
    let (root, key) = (openssl.read("root.pem"), openssl.read("leaf.key"));
    let verifier = verifier(&[&root]);
    let mut wrong = Vec::new();
    for (case, intermediates, leaf, valid) in ROWS {
        let path: Vec<String> =
            path(&openssl, intermediates, leaf).iter().map(|name| openssl.read(name)).collect();
        openssl.write("chain", &path.concat());
        let judge = openssl
            .succeeds("verify -policy_check -policy anyPolicy -purpose sslclient -CAfile root.pem -untrusted chain chain");
        if judge != *valid {
            wrong.push(format!("{case}: openssl says {judge}"));
        }
        let chain: Vec<&str> = path.iter().map(String::as_str).collect();
        for version in VERSIONS {
            let verdict = handshake(&verifier, version, &chain, &key);
            let refusal = match &verdict {
                Err(Error::InvalidCertificate(error)) => Some(ClientRefusal::of(error)),
                _ => None,
            };
            if verdict.is_ok() != *valid || !valid && refusal != Some(ClientRefusal::Policy) {
                wrong.push(format!("{case}: {verdict:?}"));
            }
        }
        let upload = one_way(path.concat() + &root, key.clone()).codes();
        if upload.contains(&"POLICY_VIOLATED") == *valid || !upload.contains(&"POLICY_CRITICAL") {
            wrong.push(format!("{case}, uploaded: {upload:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_webpki_refuses_for_another_reason_stays_refused_beside_critical_policies() {
    let openssl = stage();
    let (root, key) = (openssl.read("root.pem"), openssl.read("leaf.key"));
    let verifier = verifier(&[&root]);
    const CA: &str = "certificatePolicies=critical,1.2.3.1";
    let rows: [(&str, &[&str], &str, ClientRefusal); 12] = [
        (
            "a server",
            &[P1],
            "certificatePolicies=critical,1.2.3.1\nextendedKeyUsage=serverAuth",
            ClientRefusal::WrongPurpose,
        ),
        (
            "an issuer for servers",
            &["certificatePolicies=critical,1.2.3.1\nextendedKeyUsage=serverAuth"],
            P1,
            ClientRefusal::WrongPurpose,
        ),
        (
            "another critical extension",
            &[P1],
            "certificatePolicies=critical,1.2.3.1\n1.2.3.4=critical,ASN1:NULL",
            ClientRefusal::CriticalExtension,
        ),
        (
            "another critical extension of the issuer",
            &["certificatePolicies=critical,1.2.3.1\n1.2.3.4=critical,ASN1:NULL"],
            P1,
            ClientRefusal::CriticalExtension,
        ),
        (
            "a name that is not permitted",
            &["certificatePolicies=critical,1.2.3.1\nnameConstraints=critical,permitted;DNS:example.org"],
            P1,
            ClientRefusal::NameConstraint,
        ),
        (
            "a CA",
            &[P1],
            "certificatePolicies=critical,1.2.3.1\nbasicConstraints=CA:TRUE",
            ClientRefusal::IsCa,
        ),
        (
            "an issuer that is no CA",
            &["certificatePolicies=critical,1.2.3.1\nbasicConstraints=CA:FALSE"],
            P1,
            ClientRefusal::IssuerNotCa,
        ),
        (
            "an issuer that may not sign",
            &["certificatePolicies=critical,1.2.3.1\nbasicConstraints=CA:TRUE\nkeyUsage=digitalSignature"],
            P1,
            ClientRefusal::IssuerKeyUsage,
        ),
        (
            "a CA too many",
            &["certificatePolicies=critical,1.2.3.1\nbasicConstraints=CA:TRUE,pathlen:0", P1],
            P1,
            ClientRefusal::PathLength,
        ),
        ("a CA too many for webpki", &[P1, P1, P1, P1, P1, P1, P1], P1, ClientRefusal::ChainTooLong),
        ("policies that cannot be read", &[P1], "2.5.29.32=critical,ASN1:NULL", ClientRefusal::Policy),
        ("constraints that cannot be read", &["2.5.29.36=critical,ASN1:NULL"], CA, ClientRefusal::Policy),
    ];
    let refusal = |chain: &[&str]| {
        let verdicts = VERSIONS.map(|version| match handshake(&verifier, version, chain, &key) {
            Err(Error::InvalidCertificate(error)) => Some(ClientRefusal::of(&error)),
            _ => None,
        });
        assert_eq!(verdicts[0], verdicts[1]);
        verdicts[0]
    };
    for (case, intermediates, leaf, expected) in rows {
        let path: Vec<String> =
            path(&openssl, intermediates, leaf).iter().map(|name| openssl.read(name)).collect();
        let chain: Vec<&str> = path.iter().map(String::as_str).collect();
        assert_eq!(refusal(&chain), Some(expected), "{case}");
    }
    let good: Vec<String> = path(&openssl, &[P1], P1).iter().map(|name| openssl.read(name)).collect();
    let [leaf, sub] = good.as_slice() else { unreachable!("one intermediate") };
    assert_eq!(refusal(&[leaf, sub]), None);
    assert_eq!(refusal(&[leaf]), Some(ClientRefusal::UnknownIssuer));
    assert_eq!(refusal(&[&damaged(leaf), sub]), Some(ClientRefusal::BadSignature));
    assert_eq!(refusal(&[leaf, &damaged(sub)]), Some(ClientRefusal::BadSignature));
    for (options, expected) in
        [("-sha1", ClientRefusal::WeakSignature), ("-sha224", ClientRefusal::UnsupportedSignature)]
    {
        openssl.sign("leaf", "sub0", &format!("{options} -extfile extensions"));
        assert_eq!(refusal(&[&openssl.read("leaf.pem"), sub]), Some(expected));
    }
    // Another CA of that name.
    openssl.p256("sub0").sign("sub0", "root", "-sha256 -extfile extensions");
    openssl.sign("leaf", "sub0", "-sha256 -extfile extensions");
    assert_eq!(refusal(&[&openssl.read("leaf.pem"), sub]), Some(ClientRefusal::BadSignature));
}

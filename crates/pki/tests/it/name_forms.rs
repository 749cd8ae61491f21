//! Equal names in several forms (RFC 5280 §7.1), for devices and in uploads. `openssl verify`
//! judges each case.

use certward_pki::ClientRefusal;
use rustls::Error;

use crate::clients::{VERSIONS, handshake, verifier};
use crate::openssl::{Openssl, one_way};
use crate::salts::damaged;

/// OpenSSL's mask of string types, and the name.
type Form = (&'static str, &'static str);

const PRINTABLE: &str = "MASK:0x2";
const TELETEX: &str = "MASK:0x4";
const IA5: &str = "MASK:0x10";
const UNIVERSAL: &str = "MASK:0x100";
const BMP: &str = "MASK:0x800";
const UTF8: &str = "MASK:0x2000";

/// A CA's subject, the issuer in its certificates, and their equality.
const ROWS: &[(Form, Form, bool)] = &[
    ((PRINTABLE, "/CN=Example CA"), (PRINTABLE, "/CN=Example CA"), true),
    ((PRINTABLE, "/CN=Example CA"), (UTF8, "/CN=Example CA"), true),
    ((UTF8, "/CN=Example CA"), (PRINTABLE, "/CN=Example CA"), true),
    ((UTF8, "/CN=Example CA"), (BMP, "/CN=Example CA"), true),
    ((UTF8, "/CN=Example CA"), (UNIVERSAL, "/CN=Example CA"), true),
    ((UTF8, "/CN=Example CA"), (IA5, "/CN=Example CA"), true),
    ((UTF8, "/CN=Example CA"), (TELETEX, "/CN=Example CA"), true),
    ((UTF8, "/CN=Exämple CA"), (TELETEX, "/CN=Exämple CA"), true),
    ((UTF8, "/CN=Exämple CA"), (BMP, "/CN=Exämple CA"), true),
    ((UTF8, "/CN=Example CA"), (UTF8, "/CN=EXAMPLE ca"), true),
    ((PRINTABLE, "/CN=Example CA"), (UTF8, "/CN=  example   ca "), true),
    ((PRINTABLE, "/C=DE/O=Example/CN=CA"), (UTF8, "/C=DE/O=example/CN=ca"), true),
    ((UTF8, "/CN=Example CA+O=Example"), (PRINTABLE, "/O=EXAMPLE+CN=EXAMPLE CA"), true),
    // OpenSSL folds the case of ASCII letters only.
    ((UTF8, "/CN=Exämple CA"), (UTF8, "/CN=EXÄMPLE CA"), false),
    ((UTF8, "/CN=Example CA"), (UTF8, "/CN=ExampleCA"), false),
    ((UTF8, "/CN=Example CA"), (UTF8, "/CN=Example CB"), false),
    ((UTF8, "/CN=Example CA"), (UTF8, "/O=Example CA"), false),
    ((UTF8, "/CN=Example CA"), (UTF8, "/CN=Example CA/O=Example"), false),
    ((UTF8, "/CN=Example CA/O=Example"), (UTF8, "/O=Example/CN=Example CA"), false),
    ((UTF8, "/CN=Example CA+O=Example"), (UTF8, "/CN=Example CA/O=Example"), false),
];

const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n";
const LEAF: &str = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:broker.example.com\n";

/// `root` and `sub` have the first form, `root-called` and `sub-called`, of the same keys, the
/// second.
fn stage(is: Form, called: Form) -> Openssl {
    let openssl = Openssl::new();
    openssl.p256("root").p256("sub").p256("device");
    for (suffix, (mask, name)) in [("", is), ("-called", called)] {
        let config = format!("[req]\ndistinguished_name=dn\nstring_mask={mask}\nutf8=yes\n[dn]\n");
        openssl.write("form", &config);
        let request = |key: &str, more: &str| {
            let command = format!("req -new -key {key}.key -config form -utf8 {more} -subj");
            openssl.run_with(&command, &[&format!("{name}/OU={key}")]);
        };
        openssl.write("extensions", CA);
        request(
            "root",
            &format!("-x509 -days 3650 -addext basicConstraints=critical,CA:TRUE -out root{suffix}.pem"),
        );
        request("sub", "-out sub.csr");
        openssl.run(&format!(
            "x509 -req -in sub.csr -CA root{suffix}.pem -CAkey root.key -CAcreateserial -days 3650 -out sub{suffix}.pem -extfile extensions"
        ));
    }
    openssl
}

fn device(openssl: &Openssl, ca: &str, key: &str, extensions: &str) -> String {
    openssl.write("extensions", extensions);
    let extensions = if extensions.is_empty() { "" } else { "-extfile extensions" };
    openssl.run("req -new -key device.key -subj /CN=device -out device.csr").run(&format!(
        "x509 -req -in device.csr -CA {ca}.pem -CAkey {key}.key -CAcreateserial -days 3650 -out device.pem {extensions}"
    ));
    openssl.read("device.pem")
}

fn refusal(verdict: &Result<(), Error>) -> Option<ClientRefusal> {
    match verdict {
        Err(Error::InvalidCertificate(error)) => Some(ClientRefusal::of(error)),
        _ => None,
    }
}

#[test]
fn names_are_compared_as_rfc_5280_says_for_devices_and_uploads() {
    let mut wrong = Vec::new();
    for (is, called, equal) in ROWS {
        let openssl = stage(*is, *called);
        let (root, sub, key) =
            (openssl.read("root.pem"), openssl.read("sub.pem"), openssl.read("device.key"));
        let verifier = verifier(&[&root]);
        let mut expect = |case: &str, equal: bool, chain: &[&str]| {
            openssl.write("chain", &chain.concat());
            let judge = openssl.succeeds("verify -purpose sslclient -CAfile root.pem -untrusted chain chain");
            for version in VERSIONS {
                let verdict = handshake(&verifier, version, chain, &key);
                if verdict.is_ok() != equal || judge != equal {
                    wrong.push(format!("{is:?} {called:?}, {case}: {verdict:?}, openssl {judge}"));
                }
                let damaged = damaged(chain[0]);
                let bad = [&[damaged.as_str()], &chain[1..]].concat();
                let expected = if equal { ClientRefusal::BadSignature } else { ClientRefusal::UnknownIssuer };
                let refused = refusal(&handshake(&verifier, version, &bad, &key));
                if refused != Some(expected) {
                    wrong.push(format!("{is:?} {called:?}, {case}, damaged: {refused:?}"));
                }
            }
        };
        expect("under the root", *equal, &[&device(&openssl, "root-called", "root", LEAF)]);
        expect("of version 1", *equal, &[&device(&openssl, "root-called", "root", "")]);
        let leaf = device(&openssl, "sub-called", "sub", LEAF);
        expect("under an intermediate", *equal, &[&leaf, &sub]);
        expect("under one that names the root so", *equal, &[&leaf, &openssl.read("sub-called.pem")]);
        let upload = one_way(leaf.clone() + &sub + &root, key.clone());
        let served = upload.judge().material.map_or(0, |material| material.bundle.chain().len());
        let is_other_form = upload.codes().contains(&"ISSUER_NAME_FORM");
        if served != 1 + usize::from(*equal) || is_other_form != (*equal && is != called) {
            wrong.push(format!("{is:?} {called:?}, uploaded: {:?}", upload.codes()));
        }
        let upload = one_way(damaged(&leaf) + &sub + &root, key.clone()).codes();
        if upload.contains(&"LEAF_SIGNATURE_BROKEN") != *equal {
            wrong.push(format!("{is:?} {called:?}, uploaded and damaged: {upload:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_name_in_another_form_admits_no_client_that_its_bytes_would_not() {
    let (is, called) = ((PRINTABLE, "/CN=Example CA"), (UTF8, "/CN=example ca"));
    let (openssl, other) = (stage(is, called), stage(is, called));
    let (root, sub, key) = (openssl.read("root.pem"), openssl.read("sub.pem"), openssl.read("device.key"));
    let verifier = verifier(&[&root]);
    let refused = |case: &str, chain: &[&str], expected: ClientRefusal| {
        for version in VERSIONS {
            let verdict = refusal(&handshake(&verifier, version, chain, &key));
            assert_eq!(verdict, Some(expected), "{case}");
        }
    };
    std::fs::copy(openssl.path("device.key"), other.path("device.key")).unwrap();
    let (stranger, their_sub) = (device(&other, "root-called", "root", LEAF), other.read("sub.pem"));
    refused("another CA of the name", &[&stranger], ClientRefusal::BadSignature);
    let stranger = device(&other, "sub-called", "sub", LEAF);
    refused("another intermediate of the name", &[&stranger, &sub], ClientRefusal::BadSignature);
    refused("with that one", &[&stranger, &their_sub], ClientRefusal::BadSignature);
    let issued = |extensions: &str| device(&openssl, "sub-called", "sub", extensions);
    let server = issued(&format!("{LEAF}extendedKeyUsage=serverAuth\n"));
    refused("a server", &[&server, &sub], ClientRefusal::WrongPurpose);
    refused("a CA", &[&issued(CA), &sub], ClientRefusal::IsCa);
    let critical = issued(&format!("{LEAF}1.2.3.4=critical,ASN1:NULL\n"));
    refused("a critical extension", &[&critical, &sub], ClientRefusal::CriticalExtension);
    let version1 = issued("");
    refused("version 1 under an intermediate", &[&version1, &sub], ClientRefusal::Version);
}

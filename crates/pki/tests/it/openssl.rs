//! Made by openssl, as rcgen cannot: the public EMQX recipe, version 1, old keys, old hashes.

use std::process::Command;

use tempfile::TempDir;
use time::macros::datetime;

use crate::stage::{Case, expect};

pub(crate) struct Openssl(TempDir);

impl Openssl {
    pub(crate) fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.write(
            "openssl.cnf",
            "[req]\ndistinguished_name = dn\n[dn]\n[v3_req]\nbasicConstraints = CA:FALSE\n\
             keyUsage = nonRepudiation, digitalSignature, keyEncipherment\nsubjectAltName = @alt\n\
             [alt]\nIP.1 = 127.0.0.1\nDNS.1 = broker.example.com\n",
        );
        this
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Split at blanks.
    pub(crate) fn run(&self, command: &str) -> &Self {
        self.run_with(command, &[])
    }

    /// `more` may contain blanks.
    pub(crate) fn run_with(&self, command: &str, more: &[&str]) -> &Self {
        let output = Command::new("openssl")
            .args(command.split_whitespace())
            .args(more)
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
        self
    }

    pub(crate) fn succeeds(&self, command: &str) -> bool {
        let mut openssl = Command::new("openssl");
        openssl.args(command.split_whitespace()).current_dir(self.0.path());
        openssl.output().expect("openssl is installed").status.success()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    /// One subject for the server's and the clients' CA.
    pub(crate) fn ca(&self, name: &str) -> &Self {
        self.run(&format!("genrsa -out {name}.key 2048")).run(&format!(
            "req -x509 -new -nodes -key {name}.key -sha256 -days 3650 -out {name}.pem -subj /C=CN/O=EMQ/CN=emqx"
        ))
    }

    /// Version 3 with an extension file, else version 1.
    pub(crate) fn sign(&self, name: &str, ca: &str, more: &str) -> &Self {
        self.run(&format!("req -new -key {name}.key -out {name}.csr -subj /CN={name}.example.com")).run(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -out {name}.pem -days 3650 {more}"
        ))
    }

    pub(crate) fn p256(&self, name: &str) -> &Self {
        self.run(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"))
    }
}

pub(crate) const V3: &str = "-sha256 -extensions v3_req -extfile openssl.cnf";

/// openssl uses the machine's time; the judgement may take a later one.
pub(crate) fn one_way(cert: String, key: String) -> Case {
    Case::one_way(cert, key).at(datetime!(2030-01-01 0:00 UTC)).hosts(&["broker.example.com"])
}

#[test]
fn the_public_emqx_recipe_is_accepted_as_it_is() {
    let openssl = Openssl::new();
    openssl.ca("server-ca").ca("client-ca").run("genrsa -out broker.key 2048").sign(
        "broker",
        "server-ca",
        V3,
    );
    let (leaf, key) = (openssl.read("broker.pem"), openssl.read("broker.key"));
    let (server_ca, client_ca) = (openssl.read("server-ca.pem"), openssl.read("client-ca.pem"));
    let two_way = |cert: String, ca: &str| Case {
        tls_type: Some("two-way".into()),
        cacert: Some(ca.into()),
        ..one_way(cert, key.clone())
    };
    let faq = leaf.clone() + &server_ca;
    expect([
        ("the FAQ's order, with the root", one_way(faq.clone(), key.clone()), &["ROOT_LEFT_OUT"] as &[_]),
        ("two-way", two_way(faq.clone(), &client_ca), &["ROOT_LEFT_OUT"]),
        (
            "two-way, both CAs for clients",
            two_way(faq.clone(), &(client_ca.clone() + &server_ca)),
            &["ROOT_LEFT_OUT"],
        ),
        (
            "root first",
            one_way(server_ca.clone() + &leaf, key.clone()),
            &["CHAIN_REORDERED", "ROOT_LEFT_OUT"],
        ),
        ("leaf alone", one_way(leaf.clone(), key.clone()), &["MISSING_INTERMEDIATE"]),
        (
            "both CAs of one name behind the leaf",
            one_way(leaf.clone() + &client_ca + &server_ca, key.clone()),
            &["UNRELATED_CERTIFICATE", "ROOT_LEFT_OUT"],
        ),
        (
            "the other CA behind the leaf; openssl 3 wrote key identifiers",
            one_way(leaf.clone() + &client_ca, key.clone()),
            &["MISSING_INTERMEDIATE", "UNRELATED_CERTIFICATE"],
        ),
        ("the CA's key", one_way(faq, openssl.read("server-ca.key")), &["KEY_MISMATCH", "ROOT_LEFT_OUT"]),
        (
            "the CA itself as the server's certificate",
            one_way(server_ca, openssl.read("server-ca.key")),
            &["SELF_SIGNED_CA_LEAF", "HOST_NOT_COVERED", "NAME_ONLY_IN_CN"],
        ),
    ]);
}

#[test]
fn every_form_of_a_key_that_can_be_served_is_read() {
    let openssl = Openssl::new();
    openssl
        .p256("ca")
        .run("req -x509 -new -key ca.key -days 3650 -out ca.pem -subj /CN=CA")
        .run("genrsa -traditional -out rsa.key 2048")
        .sign("rsa", "ca", V3)
        .run("pkey -in rsa.key -out rsa-pkcs8.key")
        .run("ecparam -name secp384r1 -genkey -out ec.key")
        .sign("ec", "ca", V3)
        .run("pkey -in ec.key -out ec-pkcs8.key")
        .run("ec -in ec.key -no_public -out ec-private-only.key")
        .run("genpkey -algorithm ed25519 -out ed.key")
        .sign("ed", "ca", V3);
    assert!(openssl.read("ec.key").starts_with("-----BEGIN EC PARAMETERS"));
    let with =
        |cert: &str, key: &str| one_way(openssl.read(cert) + &openssl.read("ca.pem"), openssl.read(key));
    expect([
        ("PKCS#1", with("rsa.pem", "rsa.key"), &["ISSUER_KEY_KIND_DIFFERS", "ROOT_LEFT_OUT"] as &[_]),
        ("PKCS#8, RSA", with("rsa.pem", "rsa-pkcs8.key"), &["ISSUER_KEY_KIND_DIFFERS", "ROOT_LEFT_OUT"]),
        ("EC PARAMETERS, then SEC1", with("ec.pem", "ec.key"), &["ROOT_LEFT_OUT"]),
        ("SEC1 without the public key", with("ec.pem", "ec-private-only.key"), &["ROOT_LEFT_OUT"]),
        ("PKCS#8, EC", with("ec.pem", "ec-pkcs8.key"), &["ROOT_LEFT_OUT"]),
        ("Ed25519", with("ed.pem", "ed.key"), &["ISSUER_KEY_KIND_DIFFERS", "ROOT_LEFT_OUT"]),
    ]);
}

/// PKCS#8 without the NULL of RSA, and with attributes or the public key after the private one (RFC
/// 5958 §2).
#[test]
fn pkcs8_of_other_tools_is_read() {
    let openssl = Openssl::new();
    openssl
        .run("genrsa -traditional -out rsa.key 2048")
        .run("rsa -in rsa.key -traditional -outform DER -out rsa.der")
        .p256("ec")
        .run("pkcs8 -topk8 -nocrypt -in ec.key -outform DER -out ec.der")
        .run("genpkey -algorithm ed25519 -out ed.key")
        .run("pkcs8 -topk8 -nocrypt -in ed.key -outform DER -out ed.der")
        .run("pkey -in ed.key -pubout -outform DER -out ed.pub");
    for name in ["rsa", "ec", "ed"] {
        openssl.run(&format!("req -x509 -new -key {name}.key -days 3650 -out {name}.pem -subj /CN={name} -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:broker.example.com"));
    }
    let with = |name: &str, der: Vec<u8>| {
        one_way(openssl.read(&format!("{name}.pem")), crate::stage::encode_pem("PRIVATE KEY", &der))
    };
    let tlv = crate::stage::tlv;
    let rsa_oid = tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
    let rsa = |parameters: &[u8], inner: &[u8]| {
        let algorithm = tlv(0x30, &[&rsa_oid, parameters].concat());
        with("rsa", tlv(0x30, &[&[2, 1, 0], &algorithm[..], &tlv(4, inner)].concat()))
    };
    let rsa_key = openssl.bytes("rsa.der");
    let mut rsa_broken = rsa_key.clone();
    *rsa_broken.last_mut().unwrap() ^= 1;
    // [0] attributes: keyUsage digitalSignature, as Windows and Java write them.
    let attributes =
        tlv(0xa0, &tlv(0x30, &[&[6, 3, 0x55, 0x1d, 0x0f][..], &[0x31, 4, 3, 2, 7, 0x80]].concat()));
    let with_attributes = |name: &str| {
        let der = openssl.bytes(&format!("{name}.der"));
        let content = &der[if der[1] < 0x80 { 2 } else { 3 }..];
        with(name, tlv(0x30, &[content, &attributes].concat()))
    };
    let seed = openssl.bytes("ed.der")[16..].to_vec();
    let public = openssl.bytes("ed.pub")[12..].to_vec();
    let other = [&public[..31], &[public[31] ^ 1]].concat();
    let bits = |key: &[u8]| [&[0], key].concat();
    let ed = |version: u8, algorithm: &[u8], behind: &[u8]| {
        let algorithm = tlv(0x30, algorithm);
        with("ed", tlv(0x30, &[&[2, 1, version], &algorithm[..], &tlv(4, &tlv(4, &seed)), behind].concat()))
    };
    let oid: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
    let tagged = |key: &[u8]| tlv(0x81, &bits(key));
    let ring = |key: &[u8]| tlv(0xa1, &tlv(3, &bits(key)));
    expect([
        ("RSA as RFC 8017 has it", rsa(&[5, 0], &rsa_key), &[] as &[_]),
        ("RSA without NULL", rsa(&[], &rsa_key), &[]),
        ("RSA without NULL, and inconsistent", rsa(&[], &rsa_broken), &["KEY_INCONSISTENT"]),
        ("RSA with parameters of another kind", rsa(&[2, 1, 0], &rsa_key), &["KEY_UNREADABLE"]),
        ("EC with attributes", with_attributes("ec"), &[]),
        ("Ed25519 with attributes", with_attributes("ed"), &[]),
        ("Ed25519, the private key alone", ed(0, oid, &[]), &[]),
        ("Ed25519 with NULL", ed(0, &[oid, &[5, 0]].concat(), &[]), &[]),
        ("Ed25519 with other parameters", ed(0, &[oid, &[2, 1, 0]].concat(), &[]), &["KEY_UNREADABLE"]),
        ("Ed25519 with its public key", ed(1, oid, &tagged(&public)), &[]),
        ("Ed25519 with another public key", ed(1, oid, &tagged(&other)), &["KEY_INCONSISTENT"]),
        ("Ed25519 of ring before 0.17", ed(1, oid, &ring(&public)), &[]),
        ("the same with another public key", ed(1, oid, &ring(&other)), &["KEY_INCONSISTENT"]),
        ("the same, cut short", ed(1, oid, &ring(&public[..31])), &["KEY_INCONSISTENT"]),
        (
            "the same, with bytes behind",
            ed(1, oid, &[ring(&public), vec![5, 0]].concat()),
            &["KEY_UNREADABLE"],
        ),
    ]);
}

#[test]
fn keys_that_cannot_be_served_are_named() {
    let openssl = Openssl::new();
    openssl
        .p256("good")
        .run("req -x509 -new -key good.key -days 3650 -out good.pem -subj /CN=good -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:broker.example.com")
        .run("genrsa -out small.key 1024")
        .run("genrsa -out large.key 4104")
        .run("ecparam -name secp256k1 -genkey -noout -out k1.key")
        .run("ecparam -name prime256v1 -genkey -noout -param_enc explicit -out explicit.key")
        .run("pkey -in explicit.key -out explicit-pkcs8.key")
        .run("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.key")
        .run("genpkey -algorithm ed448 -out ed448.key")
        .run("genpkey -algorithm x25519 -out x25519.key")
        .run("pkcs8 -topk8 -in good.key -passout pass:secret -out encrypted.key")
        .run("ec -in good.key -aes128 -passout pass:secret -out legacy.key")
        .run("pkcs12 -export -inkey good.key -in good.pem -passout pass:secret -out good.p12")
        .run("base64 -in good.p12 -out good.p12.txt")
        .run("crl2pkcs7 -nocrl -certfile good.pem -out good.p7b")
        .run("x509 -in good.pem -trustout -addtrust serverAuth -out trusted.pem")
        .run("req -new -key good.key -subj /CN=good -out good.csr")
        .run("pkey -in good.key -pubout -out good.pub");
    for name in ["small", "large", "k1", "explicit", "pss", "ed448"] {
        openssl.run(&format!("req -x509 -new -key {name}.key -days 3650 -out {name}.pem -subj /CN={name} -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:broker.example.com"));
    }
    let cert = openssl.read("good.pem");
    let with_key = |name: &str| one_way(cert.clone(), openssl.read(name));
    let pair =
        |name: &str| one_way(openssl.read(&format!("{name}.pem")), openssl.read(&format!("{name}.key")));
    let with_cert = |name: &str| one_way(openssl.read(name), openssl.read("good.key"));
    expect([
        ("good", pair("good"), &[] as &[_]),
        ("a TRUSTED CERTIFICATE", with_cert("trusted.pem"), &["PEM_REPAIRED"]),
        ("RSA 1024", pair("small"), &["KEY_TOO_SMALL"]),
        ("RSA 4104", pair("large"), &["KEY_TOO_LARGE"]),
        ("secp256k1", pair("k1"), &["KEY_CURVE_UNSUPPORTED"]),
        ("explicit parameters", pair("explicit"), &["KEY_CURVE_EXPLICIT"]),
        ("explicit parameters in PKCS#8", with_key("explicit-pkcs8.key"), &["KEY_CURVE_EXPLICIT"]),
        ("RSA-PSS", pair("pss"), &["KEY_KIND_UNSUPPORTED"]),
        ("Ed448", pair("ed448"), &["KEY_KIND_UNSUPPORTED"]),
        ("X25519", with_key("x25519.key"), &["KEY_KIND_UNSUPPORTED"]),
        ("encrypted PKCS#8", with_key("encrypted.key"), &["KEY_ENCRYPTED"]),
        ("encrypted as of old", with_key("legacy.key"), &["KEY_ENCRYPTED"]),
        (
            "an unsupported leaf with a good key of another",
            one_way(openssl.read("k1.pem"), openssl.read("good.key")),
            &["KEY_CURVE_UNSUPPORTED", "KEY_MISMATCH"],
        ),
        ("PKCS#12", with_cert("good.p12.txt"), &["FORMAT_PKCS12"]),
        ("PKCS#7", with_cert("good.p7b"), &["FORMAT_PKCS7"]),
        ("CSR", with_cert("good.csr"), &["FORMAT_CSR"]),
        ("public key as the certificate", with_cert("good.pub"), &["FORMAT_PUBLIC_KEY"]),
        ("public key as the key", with_key("good.pub"), &["FORMAT_PUBLIC_KEY"]),
        (
            "a small client CA",
            Case {
                tls_type: Some("two-way".into()),
                cacert: Some(openssl.read("small.pem")),
                ..pair("good")
            },
            &["CA_NOT_CA", "CA_UNUSABLE"],
        ),
    ]);
}

#[test]
fn old_versions_and_old_hashes_are_refused_for_servers() {
    let openssl = Openssl::new();
    openssl.ca("ca").run("genrsa -out broker.key 2048");
    let made = |name: &str, more: &str| {
        openssl.sign("broker", "ca", more);
        (name.to_owned(), openssl.read("broker.pem") + &openssl.read("ca.pem"))
    };
    let key = openssl.read("broker.key");
    let cases = [
        (made("version 1", "-sha256"), &["LEAF_VERSION1", "NAME_ONLY_IN_CN", "ROOT_LEFT_OUT"] as &[_]),
        (made("SHA-1", &V3.replace("sha256", "sha1")), &["WEAK_SIGNATURE", "ROOT_LEFT_OUT"]),
        (made("MD5", &V3.replace("sha256", "md5")), &["WEAK_SIGNATURE", "ROOT_LEFT_OUT"]),
    ];
    for ((name, cert), codes) in cases {
        let case = one_way(cert, key.clone());
        expect([(name.as_str(), case, codes)]);
    }
    openssl
        .write("sub.cnf", "basicConstraints = critical,CA:TRUE\nkeyUsage = keyCertSign\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n");
    openssl
        .p256("sub")
        .run("req -new -key sub.key -out sub.csr -subj /CN=sub")
        .run("x509 -req -in sub.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out sub.pem -days 3650 -sha1 -extfile sub.cnf")
        .sign("broker", "sub", V3);
    let chain = ["broker.pem", "sub.pem", "ca.pem"].map(|name| openssl.read(name)).concat();
    let case = one_way(chain, key.clone());
    expect([(
        "an intermediate signed with SHA-1",
        case,
        &["WEAK_SIGNATURE", "ISSUER_KEY_KIND_DIFFERS", "ROOT_LEFT_OUT"] as &[_],
    )]);
    // A root's signature is not checked.
    openssl
        .run("req -x509 -new -key ca.key -sha1 -days 3650 -out ca.pem -subj /C=CN/O=EMQ/CN=emqx")
        .sign("broker", "ca", V3);
    let case = one_way(openssl.read("broker.pem") + &openssl.read("ca.pem"), key);
    expect([("a root signed with SHA-1", case, &["ROOT_LEFT_OUT"] as &[_])]);
}

#[test]
fn issuers_whose_signatures_many_clients_cannot_verify_are_named() {
    let openssl = Openssl::new();
    openssl
        .run("genrsa -out small.key 1024")
        .run("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.key")
        .run("ecparam -name secp256k1 -genkey -noout -out k1.key")
        .p256("broker");
    let mut rows = Vec::new();
    for (ca, kinds_differ) in [("small", true), ("pss", true), ("k1", false)] {
        openssl
            .run(&format!("req -x509 -new -key {ca}.key -days 3650 -out {ca}.pem -subj /CN={ca}"))
            .sign("broker", ca, V3);
        let case = one_way(
            openssl.read("broker.pem") + &openssl.read(&format!("{ca}.pem")),
            openssl.read("broker.key"),
        );
        let codes: &[&str] = match kinds_differ {
            true => &["ISSUER_KEY_KIND_DIFFERS", "ISSUER_KEY_WEAK", "ROOT_LEFT_OUT"],
            false => &["ISSUER_KEY_WEAK", "ROOT_LEFT_OUT"],
        };
        rows.push((ca, case, codes));
    }
    expect(rows);
}

#[test]
fn version_1_roots_are_client_cas_with_a_warning() {
    let openssl = Openssl::new();
    openssl
        .p256("server")
        .run("req -x509 -new -key server.key -days 3650 -out server.pem -subj /CN=s -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:broker.example.com")
        .p256("root")
        .run("req -new -key root.key -out root.csr -subj /CN=root")
        .run("x509 -req -in root.csr -signkey root.key -days 3650 -out root.pem")
        .p256("device")
        .sign("device", "root", "");
    let with = |ca: &str| Case {
        tls_type: Some("two-way".into()),
        cacert: Some(openssl.read(ca)),
        ..one_way(openssl.read("server.pem"), openssl.read("server.key"))
    };
    expect([
        ("a self-signed version 1 root", with("root.pem"), &["CA_VERSION1"] as &[_]),
        ("a version 1 device certificate", with("device.pem"), &["CA_NOT_CA"]),
    ]);
}

#[test]
fn a_key_whose_parts_contradict_each_other_is_refused() {
    let openssl = Openssl::new();
    openssl
        .run("genrsa -traditional -out rsa.key 2048")
        .run("req -x509 -new -key rsa.key -days 3650 -out rsa.pem -subj /CN=rsa -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:broker.example.com")
        .run("rsa -in rsa.key -outform DER -out rsa.der -traditional")
        .p256("ec")
        .run("req -x509 -new -key ec.key -days 3650 -out ec.pem -subj /CN=ec -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:broker.example.com")
        .run("ec -in ec.key -outform DER -out ec.der");
    let changed = |der: &str, place: usize| {
        let mut bytes = openssl.bytes(der);
        bytes[place] ^= 1;
        bytes
    };
    let rsa_len = openssl.bytes("rsa.der").len();
    let ec_len = openssl.bytes("ec.der").len();
    let rsa = |place| {
        one_way(
            openssl.read("rsa.pem"),
            crate::stage::encode_pem("RSA PRIVATE KEY", &changed("rsa.der", place)),
        )
    };
    let ec = |place| {
        one_way(openssl.read("ec.pem"), crate::stage::encode_pem("EC PRIVATE KEY", &changed("ec.der", place)))
    };
    let zeroed = |der: &str, places: std::ops::Range<usize>, label: &str| {
        let mut bytes = openssl.bytes(der);
        bytes[places].fill(0);
        crate::stage::encode_pem(label, &bytes)
    };
    // SEQUENCE, INTEGER 1, OCTET STRING of 32 bytes: the scalar.
    let ec_zero = one_way(openssl.read("ec.pem"), zeroed("ec.der", 7..39, "EC PRIVATE KEY"));
    // SEQUENCE, INTEGER 0, INTEGER of 257 bytes: the modulus; then INTEGER 65537: the exponent.
    let exponent = openssl.bytes("rsa.der").windows(5).position(|w| w == [2, 3, 1, 0, 1]).unwrap() + 2;
    let rsa_even =
        one_way(openssl.read("rsa.pem"), zeroed("rsa.der", exponent + 2..exponent + 3, "RSA PRIVATE KEY"));
    expect([
        ("RSA: the modulus", rsa(40), &["KEY_INCONSISTENT"] as &[_]),
        ("RSA: d", rsa(350), &["KEY_INCONSISTENT"]),
        ("RSA: the last CRT value", rsa(rsa_len - 1), &["KEY_INCONSISTENT"]),
        ("EC: the scalar", ec(20), &["KEY_INCONSISTENT"]),
        ("EC: the public point", ec(ec_len - 1), &["KEY_INCONSISTENT"]),
        ("EC: the scalar is zero", ec_zero, &["KEY_INCONSISTENT"]),
        ("RSA: the public exponent is even", rsa_even, &["KEY_INCONSISTENT"]),
    ]);
}

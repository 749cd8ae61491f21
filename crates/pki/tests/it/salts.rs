//! RSASSA-PSS: every salt length is verified, in handshakes and in uploads.

use certward_pki::ClientTrust;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};

use crate::clients::{VERSIONS, handshake, verifier};
use crate::openssl::{Openssl, V3, one_way};
use crate::stage::{encode_pem, expect};

/// Options of `openssl x509 -req`, and the verdict.
const SIGNATURES: [(&str, bool); 14] = [
    // OpenSSL 3.0's default: 222 bytes for this key.
    ("-sha256 -sigopt rsa_padding_mode:pss", true),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest", true),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:max", true),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:0", true),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20", true),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:127", true),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:128", true),
    ("-sha384 -sigopt rsa_padding_mode:pss", true),
    ("-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32", true),
    ("-sha512 -sigopt rsa_padding_mode:pss", true),
    ("-sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20", true),
    // The same policy as for all other signatures.
    ("-sha1 -sigopt rsa_padding_mode:pss", false),
    ("-sha224 -sigopt rsa_padding_mode:pss", false),
    ("-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha384", false),
];

/// The last byte is the signature's.
pub(crate) fn damaged(pem: &str) -> String {
    let mut der = crate::clients::der(pem).to_vec();
    *der.last_mut().unwrap() ^= 1;
    encode_pem("CERTIFICATE", &der)
}

#[test]
fn devices_are_let_in_whatever_the_length_of_the_salt() {
    let openssl = Openssl::new();
    openssl.ca("ca").p256("device");
    let (key, verifier) = (openssl.read("device.key"), verifier(&[&openssl.read("ca.pem")]));
    for (options, verified) in SIGNATURES {
        for more in [format!("{V3} {options}"), options.to_owned()] {
            openssl.sign("device", "ca", &more);
            let device = openssl.read("device.pem");
            openssl.run("verify -auth_level 0 -CAfile ca.pem device.pem");
            for version in VERSIONS {
                let verdict = handshake(&verifier, version, &[&device], &key);
                assert_eq!(verdict.is_ok(), verified, "{more}: {verdict:?}");
                let refusal = handshake(&verifier, version, &[&damaged(&device)], &key).unwrap_err();
                let of_signature =
                    matches!(refusal, Error::InvalidCertificate(CertificateError::BadSignature));
                assert_eq!(of_signature, verified, "{more}, damaged: {refusal:?}");
            }
        }
    }
}

#[test]
fn each_certificate_of_a_chain_may_have_its_own_salt() {
    let openssl = Openssl::new();
    openssl
        .run("genrsa -out root.key 3072")
        .run("req -x509 -new -key root.key -days 3650 -out root.pem -subj /CN=root -sigopt rsa_padding_mode:pss -sha256")
        .write("sub.cnf", "basicConstraints = critical,CA:TRUE\nkeyUsage = keyCertSign\n");
    openssl
        .run("genrsa -out sub.key 2048")
        .sign("sub", "root", "-extfile sub.cnf -sha256 -sigopt rsa_padding_mode:pss")
        .p256("device")
        .sign("device", "sub", &format!("{V3} -sha384 -sigopt rsa_padding_mode:pss"))
        .run("verify -CAfile root.pem -untrusted sub.pem device.pem");
    let (device, sub, key) =
        (openssl.read("device.pem"), openssl.read("sub.pem"), openssl.read("device.key"));
    let verifier = verifier(&[&openssl.read("root.pem")]);
    for version in VERSIONS {
        handshake(&verifier, version, &[&device, &sub], &key).unwrap();
        handshake(&verifier, version, &[&device, &damaged(&sub)], &key).unwrap_err();
        handshake(&verifier, version, &[&damaged(&device), &sub], &key).unwrap_err();
        handshake(&verifier, version, &[&device], &key).unwrap_err();
    }
}

#[test]
fn an_issuers_key_of_less_than_2048_bits_is_refused_with_any_salt() {
    let openssl = Openssl::new();
    openssl
        .run("genrsa -out ca.key 2040")
        .run("req -x509 -new -key ca.key -days 3650 -out ca.pem -subj /CN=small")
        .p256("device")
        .sign("device", "ca", &format!("{V3} -sigopt rsa_padding_mode:pss"));
    let anchor: CertificateDer<'static> = crate::clients::der(&openssl.read("ca.pem"));
    let verifier = ClientTrust::new(vec![anchor]).unwrap().verifier(&crate::serving::provider()).unwrap();
    let (device, key) = (openssl.read("device.pem"), openssl.read("device.key"));
    handshake(&verifier, VERSIONS[0], &[&device], &key).unwrap_err();
}

#[test]
fn an_uploaded_signature_is_verified_or_said_not_to_be() {
    let openssl = Openssl::new();
    openssl.ca("ca").run("genrsa -out broker.key 2048");
    let (root, key) = (openssl.read("ca.pem"), openssl.read("broker.key"));
    let mut rows: Vec<(String, _, &[&str])> = Vec::new();
    for (options, verified) in SIGNATURES {
        let leaf = openssl.sign("broker", "ca", &format!("{V3} {options}")).read("broker.pem");
        let usual = options.ends_with(":digest");
        let (good, bad): (&[&str], &[&str]) = match (verified, options.starts_with("-sha1 ")) {
            (true, _) if usual => (&["ROOT_LEFT_OUT"], &["LEAF_SIGNATURE_BROKEN"]),
            (true, _) => {
                (&["SIGNATURE_UNCOMMON", "ROOT_LEFT_OUT"], &["LEAF_SIGNATURE_BROKEN", "SIGNATURE_UNCOMMON"])
            }
            (false, true) => (&["WEAK_SIGNATURE", "ROOT_LEFT_OUT"], &["WEAK_SIGNATURE", "ROOT_LEFT_OUT"]),
            _ => (&["SIGNATURE_UNVERIFIED", "ROOT_LEFT_OUT"], &["SIGNATURE_UNVERIFIED", "ROOT_LEFT_OUT"]),
        };
        rows.push((options.to_owned(), one_way(leaf.clone() + &root, key.clone()), good));
        rows.push((format!("{options}, damaged"), one_way(damaged(&leaf) + &root, key.clone()), bad));
    }
    expect(rows.iter().map(|(name, case, codes)| (name.as_str(), case.clone(), *codes)));
}

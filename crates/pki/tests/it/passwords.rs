//! Encrypted keys and their passwords.

use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Salt, ScryptParams};

use crate::openssl::Openssl;
use crate::stage::{Case, encode_pem, expect, pki};

fn with(case: &Case, key: String, password: Option<&str>) -> Case {
    Case { key: Some(key), key_password: password.map(str::to_owned), ..case.clone() }
}

#[test]
fn what_openssl_encrypts_with_pbes2_is_opened_by_its_password() {
    let (openssl, pki) = (Openssl::new(), pki());
    openssl.write("key.pem", &pki.leaf.key_pem);
    let encrypted = |options: &str| {
        openssl.run(&format!("pkcs8 -topk8 -in key.pem -passout pass:p@ss{{}} -out encrypted.pem {options}"));
        openssl.read("encrypted.pem")
    };
    let case = pki.case();
    let by_default = encrypted("");
    let opened = |key: &str| with(&case, key.to_owned(), Some("p@ss{}"));
    let relabelled = by_default.replace("ENCRYPTED PRIVATE KEY", "PRIVATE KEY");
    let traditional = {
        openssl.run("ec -in key.pem -aes128 -passout pass:p@ss{} -out traditional.pem");
        openssl.read("traditional.pem")
    };
    let served = case.judge().material.unwrap();
    let material = opened(&by_default).judge().material.unwrap();
    assert_eq!(material.bundle.chain(), served.bundle.chain());
    expect([
        ("by default", opened(&by_default), &[] as &[_]),
        ("AES-128 and SHA-512", opened(&encrypted("-v2 aes-128-cbc -v2prf hmacWithSHA512")), &[]),
        ("AES-192", opened(&encrypted("-v2 aes-192-cbc")), &[]),
        ("scrypt", opened(&encrypted("-scrypt")), &[]),
        ("as many iterations as are spent", opened(&encrypted("-iter 600000")), &[]),
        (
            "with SHA-512, fewer",
            opened(&encrypted("-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 210001")),
            &["KEY_ENCRYPTION_UNSUPPORTED"],
        ),
        ("one more", opened(&encrypted("-iter 600001")), &["KEY_ENCRYPTION_UNSUPPORTED"]),
        (
            "more scrypt than is spent",
            opened(&encrypted("-scrypt -scrypt_p 4")),
            &["KEY_ENCRYPTION_UNSUPPORTED"],
        ),
        ("SHA-1", opened(&encrypted("-v2 aes-256-cbc -v2prf hmacWithSHA1")), &["KEY_ENCRYPTION_UNSUPPORTED"]),
        ("3DES", opened(&encrypted("-v2 des3")), &["KEY_ENCRYPTION_UNSUPPORTED"]),
        ("PBES1", opened(&encrypted("-v1 PBE-SHA1-3DES")), &["KEY_ENCRYPTION_UNSUPPORTED"]),
        ("OpenSSL's old form", opened(&traditional), &["KEY_ENCRYPTED"]),
        ("under a plain key's label", opened(&relabelled), &[]),
        ("another password", with(&case, by_default.clone(), Some("p@ss")), &["KEY_PASSWORD_WRONG"]),
        ("an empty one", with(&case, by_default.clone(), Some("")), &["KEY_ENCRYPTED"]),
        ("a space", with(&case, by_default.clone(), Some(" ")), &["KEY_PASSWORD_WRONG"]),
        ("none", with(&case, by_default.clone(), None), &["KEY_ENCRYPTED"]),
        (
            "too long a password",
            with(&case, by_default.clone(), Some(&"x".repeat(1025))),
            &["FIELD_TOO_LARGE", "KEY_ENCRYPTED"],
        ),
        (
            "a password for a plain key",
            with(&case, pki.leaf.key_pem.clone(), Some("p@ss{}")),
            &["KEY_PASSWORD_UNUSED"],
        ),
        ("another key", opened(&by_default.clone()).with_cert_of(&crate::stage::pki()), &["KEY_MISMATCH"]),
    ]);
}

impl Case {
    fn with_cert_of(self, other: &crate::stage::Pki) -> Self {
        Self { cert: Some(other.chain()), ..self }
    }
}

/// Noise with these parameters.
fn invented(kdf: Kdf, bytes: usize) -> String {
    let parameters = Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv: [0; 16] } };
    let noise = vec![7; bytes];
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&noise).unwrap(),
    };
    encode_pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap())
}

fn scrypt(n: u64, r: u16, p: u16) -> Kdf {
    let salt = Salt::new([0; 8]).unwrap();
    ScryptParams { salt, cost_parameter: n, block_size: r, parallelization: p, key_length: None }.into()
}

/// Checked before it is paid, which would never end.
#[test]
fn a_key_that_asks_for_endless_work_is_refused_before_any_is_done() {
    let case = pki().case();
    let pbkdf2 = |iterations: u32| {
        let mut kdf = Pbkdf2Params::hmac_sha256(1, &[0; 8]).unwrap();
        kdf.iteration_count = iterations;
        Kdf::from(kdf)
    };
    let with = |kdf| with(&case, invented(kdf, 64), Some("secret"));
    const CLOSED: &[&str] = &["KEY_ENCRYPTION_UNSUPPORTED"];
    expect([
        ("PBKDF2, all iterations", with(pbkdf2(u32::MAX)), CLOSED),
        ("PBKDF2, none", with(pbkdf2(0)), CLOSED),
        ("scrypt, N 2^63", with(scrypt(1 << 63, 8, 1)), CLOSED),
        ("scrypt, all of r", with(scrypt(16384, u16::MAX, 1)), CLOSED),
        ("scrypt, all of p", with(scrypt(16384, 8, u16::MAX)), CLOSED),
        ("scrypt, N 0", with(scrypt(0, 8, 1)), CLOSED),
        ("scrypt, N 1", with(scrypt(1, 8, 1)), CLOSED),
        ("scrypt, N no power of two", with(scrypt(16383, 8, 1)), CLOSED),
        ("scrypt, r 0", with(scrypt(16384, 0, 1)), CLOSED),
        ("scrypt, p 0", with(scrypt(16384, 8, 0)), CLOSED),
        ("noise", with(pbkdf2(1)), &["KEY_PASSWORD_WRONG"]),
        (
            "not a whole block",
            super::passwords::with(&case, invented(pbkdf2(1), 63), Some("secret")),
            &["KEY_PASSWORD_WRONG"],
        ),
        (
            "nothing",
            super::passwords::with(&case, invented(pbkdf2(1), 0), Some("secret")),
            &["KEY_PASSWORD_WRONG"],
        ),
    ]);
}

#[test]
fn a_password_is_shown_nowhere() {
    let case = with(&pki().case(), invented(scrypt(2, 1, 1), 64), Some("correct horse battery staple"));
    let judgement = case.judge();
    let said = format!("{judgement:?}{}", serde_json::to_string(&judgement.findings).unwrap());
    assert!(!said.contains("horse"), "{said}");
}

//! The names of what ClientHellos offer, as the IANA registries «TLS Parameters» have them. Values
//! without a name here are written as numbers.

use std::borrow::Cow;

use rustls::CipherSuite;

/// A version of TLS: `1.3`.
pub fn tls_version_name(version: u16) -> Cow<'static, str> {
    name_in(&[(0x0300, "ssl3"), (0x0301, "1.0"), (0x0302, "1.1"), (0x0303, "1.2"), (0x0304, "1.3")], version)
}

/// A signature scheme: `ecdsa_secp256r1_sha256`.
pub fn signature_scheme_name(scheme: u16) -> Cow<'static, str> {
    name_in(&SIGNATURE_SCHEMES, scheme)
}

/// A group: `x25519`.
pub fn named_group_name(group: u16) -> Cow<'static, str> {
    name_in(&NAMED_GROUPS, group)
}

/// A cipher suite: `TLS_AES_128_GCM_SHA256`.
pub fn cipher_suite_name(suite: u16) -> Cow<'static, str> {
    match CipherSuite::from(suite).as_str() {
        // rustls' own spelling of those of TLS 1.3.
        Some(name) => match name.strip_prefix("TLS13_") {
            Some(rest) => Cow::Owned(format!("TLS_{rest}")),
            None => Cow::Borrowed(name),
        },
        None => number(suite),
    }
}

fn name_in(names: &[(u16, &'static str)], value: u16) -> Cow<'static, str> {
    let known = names.iter().find(|(known, _)| *known == value);
    known.map_or_else(|| number(value), |(_, name)| Cow::Borrowed(*name))
}

fn number(value: u16) -> Cow<'static, str> {
    Cow::Owned(format!("0x{value:04x}"))
}

const SIGNATURE_SCHEMES: [(u16, &str); 30] = [
    (0x0201, "rsa_pkcs1_sha1"),
    (0x0202, "dsa_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0301, "rsa_pkcs1_sha224"),
    (0x0302, "dsa_sha224"),
    (0x0303, "ecdsa_sha224"),
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0402, "dsa_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0502, "dsa_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0602, "dsa_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x081a, "ecdsa_brainpoolP256r1tls13_sha256"),
    (0x081b, "ecdsa_brainpoolP384r1tls13_sha384"),
    (0x081c, "ecdsa_brainpoolP512r1tls13_sha512"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
    (0x0708, "sm2sig_sm3"),
];

const NAMED_GROUPS: [(u16, &str); 27] = [
    (19, "secp192r1"),
    (21, "secp224r1"),
    (22, "secp256k1"),
    (23, "secp256r1"),
    (24, "secp384r1"),
    (25, "secp521r1"),
    (26, "brainpoolP256r1"),
    (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"),
    (29, "x25519"),
    (30, "x448"),
    (31, "brainpoolP256r1tls13"),
    (32, "brainpoolP384r1tls13"),
    (33, "brainpoolP512r1tls13"),
    (41, "curveSM2"),
    (256, "ffdhe2048"),
    (257, "ffdhe3072"),
    (258, "ffdhe4096"),
    (259, "ffdhe6144"),
    (260, "ffdhe8192"),
    (512, "MLKEM512"),
    (513, "MLKEM768"),
    (514, "MLKEM1024"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ec, "X25519MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x6399, "X25519Kyber768Draft00"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_has_the_names_of_the_registries() {
        type Name = fn(u16) -> Cow<'static, str>;
        let cases: [(Name, u16, &str); 12] = [
            (tls_version_name, 0x0304, "1.3"),
            (tls_version_name, 0x0300, "ssl3"),
            (tls_version_name, 0x7f1c, "0x7f1c"),
            (signature_scheme_name, 0x0403, "ecdsa_secp256r1_sha256"),
            (signature_scheme_name, 0x0101, "0x0101"),
            (named_group_name, 0x11ec, "X25519MLKEM768"),
            (named_group_name, 1, "0x0001"),
            (cipher_suite_name, 0x1301, "TLS_AES_128_GCM_SHA256"),
            (cipher_suite_name, 0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
            (cipher_suite_name, 0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
            (cipher_suite_name, 0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
            (cipher_suite_name, 0x5e5e, "0x5e5e"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(name(value), expected, "{value:#06x}");
        }
    }
}

use std::path::{Path, PathBuf};

use rcgen::{Certificate, CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};

use super::der::{element, encoded};

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate alone.
    pub pem: String,
    /// The certificate alone (DER).
    pub der: Vec<u8>,
    /// The certificate and its intermediates.
    pub chain_pem: String,
    /// The intermediates (DER).
    pub intermediates: Vec<Vec<u8>>,
    /// The key, PKCS#8 unless openssl made it.
    pub key_pem: String,
    /// The key (DER).
    pub key_der: Vec<u8>,
}

impl Leaf {
    pub(super) fn new(certificate: &Certificate, intermediates: &[Certificate], key: &KeyPair) -> Self {
        let above: String = intermediates.iter().map(Certificate::pem).collect();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            chain_pem: certificate.pem() + &above,
            intermediates: intermediates.iter().map(|certificate| certificate.der().to_vec()).collect(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }

    /// Issued by itself, with a new P-256 key.
    pub fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(&params.self_signed(&key).unwrap(), &[], &key)
    }

    /// Reads the PEM that openssl writes: a chain and the key of its first certificate.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Self {
        let mut chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .map(|certificate| certificate.expect("a certificate").to_vec());
        Self {
            pem: chain_pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned(),
            der: chain.next().expect("a certificate"),
            chain_pem: chain_pem.to_owned(),
            intermediates: chain.collect(),
            key_pem: key_pem.to_owned(),
            key_der: private_key(key_pem).secret_der().to_vec(),
        }
    }

    /// The key in the form of its PEM.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        private_key(&self.key_pem)
    }

    /// The content of its serial number.
    pub fn serial(&self) -> Vec<u8> {
        let (_, tbs, _) = element(element(&self.der).1);
        // After the version.
        element(element(tbs).2).1.to_vec()
    }

    /// The same certificate with another signature that is as valid, without the CA's key: of an
    /// ECDSA signature (r, s) with P-256 it is (r, n - s).
    #[must_use]
    pub fn twin(&self) -> Self {
        let (tbs, _, rest) = element(element(&self.der).1);
        let (algorithm, _, bits) = element(rest);
        // After the number of unused bits.
        let (r, _, s) = element(element(&element(bits).1[1..]).1);
        let twisted = encoded(2, &negative(element(s).1));
        let signature = encoded(0x30, &[r, &twisted].concat());
        let signature = encoded(3, &[&[0], &signature[..]].concat());
        Self { der: encoded(0x30, &[tbs, algorithm, &signature].concat()), ..self.clone() }
    }

    /// A one-way upload.
    pub fn one_way(&self) -> Value {
        json!({"tlsType": "one-way", "cert": self.chain_pem, "key": self.key_pem})
    }

    /// A two-way upload with these client CAs (PEM).
    pub fn two_way(&self, client_cas: &str) -> Value {
        json!({"tlsType": "two-way", "cert": self.chain_pem, "key": self.key_pem, "cacert": client_cas})
    }

    /// Writes `<name>.pem` and `<name>.key`.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&cert, &self.chain_pem).unwrap();
        std::fs::write(&key, &self.key_pem).unwrap();
        (cert, key)
    }
}

/// n - s, as the content of an INTEGER.
fn negative(s: &[u8]) -> Vec<u8> {
    const ORDER_OF_P256: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let digits_of_s = s.iter().rev().copied().chain(std::iter::repeat(0));
    let mut borrow = false;
    let subtracted = ORDER_OF_P256.iter().rev().zip(digits_of_s).map(|(order, digit)| {
        let (difference, first) = order.overflowing_sub(digit);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        borrow = first || second;
        difference
    });
    let mut digits: Vec<u8> = subtracted.collect();
    while digits.len() > 1 && digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.last().is_some_and(|highest| *highest >= 0x80) {
        digits.push(0);
    }
    digits.reverse();
    digits
}

/// The error is dropped: it holds the input.
fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap_or_else(|_| panic!("no key"))
}

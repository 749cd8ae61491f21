use std::path::{Path, PathBuf};

use rcgen::{Certificate, CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};

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

/// The error is dropped: it holds the input.
fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap_or_else(|_| panic!("no key"))
}

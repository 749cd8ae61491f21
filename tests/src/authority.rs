use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};

/// A certificate authority for tests.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    chain_pem: String,
    pem: String,
    der: Vec<u8>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate (DER).
    pub der: Vec<u8>,
    /// The certificate and its intermediates.
    pub chain_pem: String,
    /// The key, PKCS#8.
    pub key_pem: String,
    /// The intermediates (DER).
    pub intermediates: Vec<Vec<u8>>,
    /// The key, PKCS#8 (DER).
    pub key_der: Vec<u8>,
}

fn serial() -> SerialNumber {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    SerialNumber::from(0x1000_0000 + NEXT.fetch_add(1, Ordering::Relaxed))
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.serial_number = Some(serial());
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    /// A self-signed root. Two of one name share the subject, not the key.
    pub fn new(common_name: &str) -> Self {
        let (params, key) = (authority_params(common_name), KeyPair::generate().unwrap());
        let root = params.self_signed(&key).unwrap();
        let (pem, der) = (root.pem(), root.der().to_vec());
        Self { issuer: Issuer::new(params, key), chain_pem: String::new(), pem, der }
    }

    /// An intermediate, included in the chains that it issues.
    pub fn intermediate(&self, common_name: &str) -> Self {
        let (params, key) = (authority_params(common_name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        let chain_pem = format!("{pem}{}", self.chain_pem);
        Self { issuer: Issuer::new(params, key), chain_pem, pem, der }
    }

    /// A server certificate with a new P-256 key.
    pub fn server(&self, hosts: &[&str]) -> Leaf {
        self.server_named(hosts[0], hosts)
    }

    /// A server certificate with this common name.
    pub fn server_named(&self, common_name: &str, hosts: &[&str]) -> Leaf {
        self.server_for(common_name, hosts, KeyPair::generate().unwrap())
    }

    /// A server certificate for an existing key.
    pub fn server_for(&self, common_name: &str, hosts: &[&str], key: KeyPair) -> Leaf {
        let mut params = params(common_name);
        params.subject_alt_names =
            hosts.iter().map(|host| rcgen::SanType::DnsName((*host).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.issue(params, key)
    }

    /// An expired server certificate.
    pub fn expired_server(&self, host: &str) -> Leaf {
        let mut params = params(host);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(host.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = date_time_ymd(2024, 2, 1);
        self.issue(params, KeyPair::generate().unwrap())
    }

    /// A device certificate with a new P-256 key.
    pub fn client(&self, common_name: &str) -> Leaf {
        let mut params = params(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.issue(params, KeyPair::generate().unwrap())
    }

    fn issue(&self, params: CertificateParams, key: KeyPair) -> Leaf {
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let intermediates = if self.chain_pem.is_empty() { Vec::new() } else { vec![self.der.clone()] };
        Leaf {
            der: leaf.der().to_vec(),
            chain_pem: format!("{}{}", leaf.pem(), self.chain_pem),
            key_pem: key.serialize_pem(),
            intermediates,
            key_der: key.serialize_der(),
        }
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Writes the authority's certificate to a file.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, &self.pem).unwrap();
        file
    }
}

impl Leaf {
    /// Writes `<name>.pem` and `<name>.key`.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&cert, &self.chain_pem).unwrap();
        std::fs::write(&key, &self.key_pem).unwrap();
        (cert, key)
    }

    /// Reads the PEM that openssl writes: a chain's first certificate and its key.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Self {
        use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let mut chain: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .map(|certificate| certificate.expect("a certificate").to_vec())
            .collect();
        let der = chain.remove(0);
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap_or_else(|_| panic!("no key"));
        Self {
            der,
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            intermediates: chain,
            key_der: key.secret_der().to_vec(),
        }
    }
}

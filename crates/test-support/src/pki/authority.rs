use std::path::{Path, PathBuf};

use rcgen::{
    Certificate, CertificateParams, CertificateRevocationList, CertificateRevocationListParams,
    CrlIssuingDistributionPoint, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use time::OffsetDateTime;

use super::{Leaf, authority_params, client_params, server_params};

/// A certificate authority with a P-256 key, unless the test gives another.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
    /// Sent with the leaves: an intermediate and those above it, without the root.
    intermediates: Vec<Certificate>,
}

impl Authority {
    /// A self-signed root. Two of one name share the subject, not the key.
    pub fn new(common_name: &str) -> Self {
        Self::new_with(common_name, |_| ())
    }

    /// A self-signed root that differs in some parameters.
    pub fn new_with(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::from_params(changed(authority_params(common_name), change), new_key())
    }

    /// A self-signed root for an existing key.
    pub fn from_params(params: CertificateParams, key: KeyPair) -> Self {
        let root = params.self_signed(&key).unwrap();
        Self {
            pem: root.pem(),
            der: root.der().to_vec(),
            issuer: Issuer::new(params, key),
            intermediates: Vec::new(),
        }
    }

    /// Another certificate of the name and key.
    pub fn renewed(&self, common_name: &str) -> Self {
        let key = KeyPair::from_pem(&self.key().serialize_pem()).unwrap();
        let renewed = |params: &mut CertificateParams| params.not_after = date_time_ymd(2045, 1, 1);
        Self::from_params(changed(authority_params(common_name), renewed), key)
    }

    /// An intermediate, included in the chains that it issues.
    pub fn intermediate(&self, common_name: &str) -> Self {
        self.intermediate_with(common_name, |_| ())
    }

    /// An intermediate that differs in some parameters.
    pub fn intermediate_with(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        self.intermediate_from(changed(authority_params(common_name), change), new_key())
    }

    /// An intermediate for an existing key.
    pub fn intermediate_from(&self, params: CertificateParams, key: KeyPair) -> Self {
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
            intermediates: [&[certificate], self.intermediates.as_slice()].concat(),
        }
    }

    /// A server certificate with a new P-256 key.
    pub fn server(&self, hosts: &[&str]) -> Leaf {
        self.server_with(hosts, |_| ())
    }

    /// A server certificate that differs in some parameters.
    pub fn server_with(&self, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.issue(changed(server_params(hosts[0], hosts), change), &new_key())
    }

    /// A server certificate with this common name.
    pub fn server_named(&self, common_name: &str, hosts: &[&str]) -> Leaf {
        self.server_for(common_name, hosts, new_key())
    }

    /// A server certificate for an existing key.
    pub fn server_for(&self, common_name: &str, hosts: &[&str], key: KeyPair) -> Leaf {
        self.issue(server_params(common_name, hosts), &key)
    }

    /// A device certificate with a new P-256 key.
    pub fn client(&self, common_name: &str) -> Leaf {
        self.client_with(common_name, |_| ())
    }

    /// A device certificate that differs in some parameters.
    pub fn client_with(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.issue(changed(client_params(common_name), change), &new_key())
    }

    /// A certificate of these parameters for this key.
    pub fn issue(&self, params: CertificateParams, key: &KeyPair) -> Leaf {
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Leaf::new(&certificate, &self.intermediates, key)
    }

    /// A CRL (DER) of these certificates, by their serial numbers.
    pub fn crl(
        &self,
        number: u64,
        revoked: &[&Leaf],
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> Vec<u8> {
        let serials = revoked.iter().map(|leaf| SerialNumber::from(leaf.serial())).collect();
        self.crl_of(number, serials, this_update, next_update)
    }

    /// A CRL as of [`Authority::crl`] with this authority's certificate beside it, PEM.
    pub fn crl_and_issuer(
        &self,
        number: u64,
        revoked: &[&Leaf],
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> String {
        let serials = revoked.iter().map(|leaf| SerialNumber::from(leaf.serial())).collect();
        self.signed_crl(number, serials, this_update, next_update, None).pem().unwrap() + &self.pem
    }

    /// A CRL (DER) that revokes nothing and has this scope.
    pub fn partition(
        &self,
        scope: CrlIssuingDistributionPoint,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> Vec<u8> {
        self.signed_crl(1, Vec::new(), this_update, next_update, Some(scope)).der().to_vec()
    }

    /// A CRL (DER) of these serial numbers.
    pub fn crl_of(
        &self,
        number: u64,
        revoked: Vec<SerialNumber>,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> Vec<u8> {
        self.signed_crl(number, revoked, this_update, next_update, None).der().to_vec()
    }

    fn signed_crl(
        &self,
        number: u64,
        revoked: Vec<SerialNumber>,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
        issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
    ) -> CertificateRevocationList {
        let entry = |serial_number| RevokedCertParams {
            serial_number,
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point,
            revoked_certs: revoked.into_iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }

    /// The key that signs.
    pub fn key(&self) -> &KeyPair {
        self.issuer.key()
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

fn changed(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().unwrap()
}

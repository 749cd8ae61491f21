use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// A CA, valid from 2024 to 2040.
pub fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A server of these hosts, names or addresses, valid from 2024 to 2040.
pub fn server_params(common_name: &str, hosts: &[&str]) -> CertificateParams {
    let mut params = end_entity_params(common_name, ExtendedKeyUsagePurpose::ServerAuth);
    params.subject_alt_names = hosts.iter().map(|host| alt_name(host)).collect();
    params
}

fn alt_name(host: &str) -> SanType {
    let dns_name = |_| SanType::DnsName(host.try_into().unwrap());
    host.parse().map_or_else(dns_name, SanType::IpAddress)
}

/// A device without a SAN, valid from 2024 to 2040.
pub fn client_params(common_name: &str) -> CertificateParams {
    end_entity_params(common_name, ExtendedKeyUsagePurpose::ClientAuth)
}

fn end_entity_params(common_name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = params(common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

use std::ops::RangeInclusive;

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// When all are valid (RFC 5280 §4.1.2.5): Unix seconds, both ends included, maybe empty. `None` if
/// one is unreadable.
pub fn validity<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>,
) -> Option<RangeInclusive<i64>> {
    let (mut from, mut until) = (i64::MIN, i64::MAX);
    for certificate in certificates {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        from = from.max(certificate.validity().not_before.timestamp());
        until = until.min(certificate.validity().not_after.timestamp());
    }
    Some(from..=until)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use time::OffsetDateTime;

    use super::*;

    fn certificate(from: i64, until: i64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = OffsetDateTime::from_unix_timestamp(from).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(until).unwrap();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn a_chain_is_valid_while_all_of_it_is() {
        let (long, late) = (certificate(1_000, 9_000), certificate(5_000, 12_000));
        assert_eq!(validity([&long]), Some(1_000..=9_000));
        assert_eq!(validity([&long, &late]), Some(5_000..=9_000));
        let early = certificate(100, 900);
        assert!(validity([&long, &early]).is_some_and(|range| range.is_empty()));
        assert_eq!(validity([&long, &CertificateDer::from(vec![1, 2, 3])]), None);
    }
}

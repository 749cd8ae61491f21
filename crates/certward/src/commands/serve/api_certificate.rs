use std::fmt;

use certward_api::Reloader;
use certward_pki::describe;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::MetricType,
    registry::{Registry, Unit},
};

/// notAfter of the API's own certificate, read at each scrape: it follows SIGHUP.
#[derive(Debug)]
struct ApiCertificateExpiry(Option<Reloader>);

/// `certificate`: `None` for plain HTTP.
pub(super) fn register(registry: &mut Registry, certificate: Option<Reloader>) {
    registry.register_with_unit(
        "certward_api_certificate_expiry_timestamp",
        "When the certificate of the API ends, in seconds since 1970; absent with plain HTTP",
        Unit::Seconds,
        ApiCertificateExpiry(certificate),
    );
}

impl EncodeMetric for ApiCertificateExpiry {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let facts = self.0.as_ref().and_then(|certificate| describe(&certificate.leaf()));
        facts.map_or(Ok(()), |facts| encoder.encode_gauge(&facts.not_after.unix_timestamp()))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use certward_api::{Api, ApiSettings, CertificateFiles};
    use certward_test_support::{Leaf, server_params};

    use super::*;

    /// Self-signed, until the year given.
    fn issue(folder: &Path, year: i32) -> CertificateFiles {
        let mut params = server_params("localhost", &["localhost"]);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let (cert, key) = Leaf::self_signed(params).write(folder, "api");
        CertificateFiles { cert, key }
    }

    fn sample(registry: &Registry) -> Option<i64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        let name = "certward_api_certificate_expiry_timestamp_seconds ";
        text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
    }

    #[test]
    fn it_is_absent_with_plain_http_and_follows_a_reload() {
        let mut registry = Registry::default();
        register(&mut registry, None);
        assert_eq!(sample(&registry), None);

        let folder = tempfile::tempdir().unwrap();
        let mut settings = ApiSettings::new("127.0.0.1:0".parse().unwrap());
        settings.tls = Some(issue(folder.path(), 2040));
        let reloader = Api::bind(settings).unwrap().reloader().unwrap();
        let mut registry = Registry::default();
        register(&mut registry, Some(reloader.clone()));
        assert_eq!(sample(&registry), Some(2_208_988_800));
        issue(folder.path(), 2041);
        assert_eq!(sample(&registry), Some(2_208_988_800), "only the one in use counts");
        reloader.reload().unwrap();
        assert_eq!(sample(&registry), Some(2_240_611_200));
    }
}

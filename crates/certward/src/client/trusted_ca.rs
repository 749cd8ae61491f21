//! What `--ca` and the CA of a login trust: CAs, and the certificates of the file themselves.

use std::sync::Arc;

use anyhow::Context;
use certward_pki::validity;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::{connection::TrustedCa, usage::UsageError};

/// # Errors
/// [`UsageError`] if there is no certificate, or a broken one.
pub(crate) fn verifier(
    ca: &TrustedCa,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ServerCertVerifier>> {
    Ok(Arc::new(CaVerifier::parse(ca, provider)?))
}

/// # Errors
/// [`UsageError`] if there is no certificate, or a broken one.
pub(super) fn tls_config(ca: &TrustedCa) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = CaVerifier::parse(ca, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// As curl does, it accepts a certificate of the file from the server itself, though it be a CA's:
/// `openssl req -x509` makes such ones. webpki does not.
#[derive(Debug)]
struct CaVerifier {
    cas: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl CaVerifier {
    fn parse(ca: &TrustedCa, provider: &Arc<CryptoProvider>) -> anyhow::Result<Self> {
        // The dropped error holds bytes of the file.
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&ca.pem).collect();
        let named = read.unwrap_or_default();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(named.iter().cloned());
        if roots.is_empty() {
            return Err(UsageError::new(format!(
                "{} holds no PEM certificate, or a broken one; a file with CAs is needed",
                ca.name
            ))
            .into());
        }
        let cas = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
            .build()
            .with_context(|| format!("{} cannot be used", ca.name))?;
        Ok(Self { cas, named })
    }
}

impl ServerCertVerifier for CaVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.named.contains(end_entity) {
            return self.cas.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        }
        let valid = validity([end_entity]).ok_or(CertificateError::BadEncoding)?;
        match i64::try_from(now.as_secs()).unwrap_or(i64::MAX) {
            now if now < *valid.start() => return Err(CertificateError::NotValidYet.into()),
            now if now > *valid.end() => return Err(CertificateError::Expired.into()),
            _ => {}
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.cas.verify_tls12_signature(message, certificate, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.cas.verify_tls13_signature(message, certificate, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.cas.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certward_test_support::{Authority, Leaf, server_params};
    use rcgen::{BasicConstraints, IsCa};
    use time::macros::datetime;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Outcome {
        Accepted,
        Refused(&'static str),
    }

    /// In 2026, with the file `ca`.
    fn outcome(ca: &[&str], server: &Leaf, name: &str) -> Outcome {
        let ca = TrustedCa { pem: ca.concat().into_bytes().into(), name: "ca.pem".to_owned() };
        let file = CaVerifier::parse(&ca, &Arc::new(aws_lc_rs::default_provider())).unwrap();
        let chain: Vec<CertificateDer<'_>> = server.intermediates.iter().map(|der| der[..].into()).collect();
        let verified = file.verify_server_cert(
            &server.der[..].into(),
            &chain,
            &ServerName::try_from(name).unwrap(),
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000)),
        );
        match verified {
            Ok(_) => Outcome::Accepted,
            Err(Error::InvalidCertificate(error)) => Outcome::Refused(match error {
                CertificateError::NotValidForNameContext { .. } => "name",
                CertificateError::Expired => "expired",
                CertificateError::NotValidYet => "not yet valid",
                CertificateError::UnknownIssuer => "issuer",
                _ => "other",
            }),
            Err(_) => Outcome::Refused("other"),
        }
    }

    #[test]
    fn a_certificate_of_the_file_is_accepted_though_it_is_a_ca() {
        let made = |change: fn(&mut rcgen::CertificateParams)| {
            let mut params = server_params("api", &["api.example", "192.0.2.1"]);
            change(&mut params);
            Leaf::self_signed(params)
        };
        let ca = |params: &mut rcgen::CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        };
        let (own, another, leaf) = (made(ca), made(ca), made(|_| {}));
        let expired = made(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_after = datetime!(2026-01-01 0:00 UTC);
        });
        let early = made(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_before = datetime!(2030-01-01 0:00 UTC);
        });
        let authority = Authority::new("API CA");
        let issued = authority.server(&["api.example"]);
        let below = authority.intermediate("sub").server(&["api.example"]);
        use Outcome::{Accepted, Refused};
        for (case, ca, server, name, expected) in [
            ("self-signed CA", &[own.pem.as_str()][..], &own, "api.example", Accepted),
            ("its address", &[&own.pem], &own, "192.0.2.1", Accepted),
            ("among others", &[authority.pem(), &own.pem], &own, "api.example", Accepted),
            ("another name", &[&own.pem], &own, "other.example", Refused("name")),
            ("of another key", &[&another.pem], &own, "api.example", Refused("other")),
            ("expired", &[&expired.pem], &expired, "api.example", Refused("expired")),
            ("not yet valid", &[&early.pem], &early, "api.example", Refused("not yet valid")),
            ("self-signed, no CA", &[&leaf.pem], &leaf, "api.example", Accepted),
            ("issued by the file's CA", &[authority.pem()], &issued, "api.example", Accepted),
            ("below its intermediate", &[authority.pem()], &below, "api.example", Accepted),
            ("issued by another", &[&own.pem], &issued, "api.example", Refused("issuer")),
            // As with curl since 7.68: the file's certificate need not be a root.
            ("issued, itself in the file", &[&issued.pem], &issued, "api.example", Accepted),
        ] {
            assert_eq!(outcome(ca, server, name), expected, "{case}");
        }
    }
}

//! A TLS client that trusts nothing and records the handshake, for rehearsals and proofs.

use std::sync::Arc;

use certward_pki::without_critical_policies;
use parking_lot::Mutex;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// What a server showed in a handshake.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HandshakeRecord {
    /// As presented, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// Whether the server's signature verified, with the leaf's key.
    pub signature_verified: bool,
    /// CA names (DER) of the certificate request, if any.
    pub asked_by: Option<Vec<Vec<u8>>>,
}

/// A client's verifier and certificate resolver: verifies the server's signature and no chain,
/// presents no certificate, and records the handshake.
#[derive(Debug)]
pub struct RecordingClient {
    provider: Arc<CryptoProvider>,
    seen: Mutex<HandshakeRecord>,
}

impl RecordingClient {
    /// For one handshake.
    pub fn new(provider: Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self { provider, seen: Mutex::default() })
    }

    /// A configuration of one version, without resumption.
    ///
    /// # Errors
    /// The provider does not have this version.
    pub fn config(
        self: &Arc<Self>,
        version: &'static SupportedProtocolVersion,
        alpn: Option<&[u8]>,
        sni: bool,
    ) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[version])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Self>::clone(self))
            .with_client_cert_resolver(Arc::<Self>::clone(self));
        config.resumption = Resumption::disabled();
        config.enable_sni = sni;
        config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
        Ok(config)
    }

    /// What was seen so far, also if the handshake failed.
    pub fn record(&self) -> HandshakeRecord {
        self.with_seen(|seen| seen.clone())
    }

    fn with_seen<T>(&self, look: impl FnOnce(&mut HandshakeRecord) -> T) -> T {
        look(&mut self.seen.lock())
    }

    fn signed(
        &self,
        verified: Result<HandshakeSignatureValid, Error>,
        cert: &CertificateDer<'_>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = verified?;
        self.with_seen(|seen| match seen.chain.first() {
            Some(leaf) if leaf.as_slice() == cert.as_ref() => {
                seen.signature_verified = true;
                Ok(valid)
            }
            _ => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        })
    }
}

impl ServerCertVerifier for RecordingClient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // For the caller to compare; the issuer may be private.
        self.with_seen(|seen| {
            seen.chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let readable = without_critical_policies(cert);
        let verified = verify_tls12_signature(message, readable.as_ref().unwrap_or(cert), dss, algorithms);
        self.signed(verified, cert)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let readable = without_critical_policies(cert);
        let verified = verify_tls13_signature(message, readable.as_ref().unwrap_or(cert), dss, algorithms);
        self.signed(verified, cert)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for RecordingClient {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let names = root_hint_subjects.iter().map(|name| name.to_vec()).collect();
        self.with_seen(|seen| seen.asked_by = Some(names));
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

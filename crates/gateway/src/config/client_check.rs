use std::sync::Arc;

use certward_pki::{ClientCertificate, DeviceIdentity, PathCandidates, Revocations};
use certward_store::{RevocationMark, TrustScope};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{config::deployment_revocations::DeploymentRevocations, observe::refused_client::report};

/// Verifies the clients of a two-way deployment: the path, which may be remembered; then the
/// revocations, each time. In full handshakes, on resumption, and for live sessions.
#[derive(Debug)]
pub(crate) struct ClientCheck {
    paths: Arc<dyn ClientCertVerifier>,
    /// `None`: nothing is revoked.
    revocations: Option<Arc<DeploymentRevocations>>,
}

/// What a live session was verified by. If it is equal, only the deny-list may have changed since,
/// which finds sessions by their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrustStamp {
    scope: TrustScope,
    crls: RevocationMark,
    identity: DeviceIdentity,
}

impl ClientCheck {
    pub(crate) fn new(
        paths: Arc<dyn ClientCertVerifier>,
        revocations: Option<Arc<DeploymentRevocations>>,
    ) -> Self {
        Self { paths, revocations }
    }

    /// The same paths, with these revocations.
    pub(crate) fn with(&self, revocations: Option<Arc<DeploymentRevocations>>) -> Self {
        Self::new(Arc::clone(&self.paths), revocations)
    }

    pub(crate) fn revocations(&self) -> Option<&Arc<DeploymentRevocations>> {
        self.revocations.as_ref()
    }

    /// What revocations have against a chain that was accepted, whatever its dates. Without the
    /// intermediates that are revoked it may be accepted all the same.
    pub(crate) fn objection(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Error> {
        let revocations = self.revocations.as_ref()?.get();
        let of_end_entity = revocations.check(end_entity, now).err();
        of_end_entity.or_else(|| revocations.candidates(intermediates, now).refusal).map(Error::from)
    }

    fn verify_with(
        &self,
        revocations: &Revocations,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let PathCandidates { left, refusal } = revocations.candidates(intermediates, now);
        let refusal = match self.paths.verify_client_cert(end_entity, &left, now) {
            Ok(verified) => match revocations.check(end_entity, now) {
                Ok(()) => return Ok(verified),
                Err(refusal) => refusal,
            },
            // Those that were left out may be needed.
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if let Some(refusal) = refusal =>
            {
                refusal
            }
            Err(error) => return Err(error),
        };
        report(|| ClientCertificate::of(end_entity));
        Err(refusal.into())
    }
}

impl TrustStamp {
    pub(crate) fn scope(self) -> TrustScope {
        self.scope
    }

    /// `None`: no client is verified.
    pub(crate) fn new(scope: TrustScope, check: Option<&ClientCheck>) -> Self {
        let revocations = check.and_then(ClientCheck::revocations);
        Self {
            scope,
            crls: revocations.map(|revocations| revocations.crl_mark()).unwrap_or_default(),
            identity: revocations.map(|revocations| revocations.identity()).unwrap_or_default(),
        }
    }
}

impl ClientCertVerifier for ClientCheck {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(revocations) = &self.revocations else {
            return self.paths.verify_client_cert(end_entity, intermediates, now);
        };
        self.verify_with(revocations.get(), end_entity, intermediates, now)
    }

    fn offer_client_auth(&self) -> bool {
        self.paths.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.paths.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.paths.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.paths.verify_tls12_signature(message, certificate, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.paths.verify_tls13_signature(message, certificate, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.paths.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.paths.requires_raw_public_keys()
    }
}

//! The newest failed handshakes of each deployment, for the operator who asks why a device does not get in.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use certward_lifecycle::FailedHandshake;
use certward_store::{DeploymentId, Timestamp};
use moka::{policy::EvictionPolicy, sync::Cache};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// 64 bytes each: a deployment under attack holds 3 KiB.
const KEPT_PER_DEPLOYMENT: usize = 50;
/// The deployments with the newest failures; older ones are forgotten.
const DEPLOYMENTS_MAX: u64 = 10_000;

/// Why a handshake failed: a closed list, so that it can be a label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    /// It was no TLS at all.
    NotTls,
    /// Neither TLS 1.2 nor TLS 1.3.
    NoCommonVersion,
    /// No cipher suite, group or signature in common.
    NoCommonAlgorithm,
    /// No, or no known, name on a shared listener without a default.
    UnknownName,
    /// The deployment has no certificate.
    NoCertificateSet,
    /// The deployment cannot be served now.
    NotServable,
    /// Two-way, and the client sent none.
    CertificateRequired,
    /// The client's certificate is expired.
    CertificateExpired,
    /// The client's certificate is not valid yet.
    CertificateNotYetValid,
    /// No client CA of the deployment issued it.
    CertificateUnknownIssuer,
    /// It is revoked.
    CertificateRevoked,
    /// It cannot be used for another reason.
    CertificateInvalid,
    /// The client refuses the deployment's certificate.
    ClientRefusedCertificate,
    /// The client broke off with another alert.
    ClientAlert,
    /// Not done within the deadline.
    Timeout,
    /// The client closed the connection.
    Closed,
    /// The client broke the protocol.
    Protocol,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonAlgorithm => "no_common_algorithm",
            Self::UnknownName => "unknown_name",
            Self::NoCertificateSet => "no_certificate_set",
            Self::NotServable => "not_servable",
            Self::CertificateRequired => "certificate_required",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::CertificateUnknownIssuer => "certificate_unknown_issuer",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateInvalid => "certificate_invalid",
            Self::ClientRefusedCertificate => "client_refused_certificate",
            Self::ClientAlert => "client_alert",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::CertificateRequired,
            Error::InvalidCertificate(error) => error.into(),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::PeerIncompatible(incompatible) => match incompatible {
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13 => Self::NoCommonVersion,
                _ => Self::NoCommonAlgorithm,
            },
            Error::AlertReceived(alert) => match alert {
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown => Self::ClientRefusedCertificate,
                _ => Self::ClientAlert,
            },
            Error::NoApplicationProtocol => Self::NoCommonAlgorithm,
            _ => Self::Protocol,
        }
    }
}

impl From<&CertificateError> for Cause {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::CertificateExpired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::CertificateNotYetValid
            }
            CertificateError::UnknownIssuer => Self::CertificateUnknownIssuer,
            CertificateError::Revoked => Self::CertificateRevoked,
            _ => Self::CertificateInvalid,
        }
    }
}

/// The bounded list.
#[derive(Debug)]
pub(crate) struct Failures(Cache<DeploymentId, Arc<Mutex<VecDeque<FailedHandshake>>>>);

impl Default for Failures {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(DEPLOYMENTS_MAX).eviction_policy(EvictionPolicy::lru());
        Self(cache.build())
    }
}

impl Failures {
    pub(crate) fn note(&self, id: &DeploymentId, at: Timestamp, peer: SocketAddr, cause: Cause) {
        let list = self.0.get_with_by_ref(id, Arc::default);
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        list.truncate(KEPT_PER_DEPLOYMENT - 1);
        list.push_front(FailedHandshake { at, peer, cause: cause.as_str() });
    }

    /// Newest first.
    pub(crate) fn newest(&self, id: &DeploymentId) -> Vec<FailedHandshake> {
        let Some(list) = self.0.get(id) else { return Vec::new() };
        list.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn forget(&self, id: &DeploymentId) {
        self.0.invalidate(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_failures_are_kept_newest_first_and_no_more() {
        let failures = Failures::default();
        let id = DeploymentId::parse("d").unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        for at in 0..200 {
            failures.note(&id, Timestamp(at), peer, Cause::Timeout);
        }
        let newest = failures.newest(&id);
        assert_eq!(newest.len(), KEPT_PER_DEPLOYMENT);
        assert_eq!(newest[0], FailedHandshake { at: Timestamp(199), peer, cause: "timeout" });
        failures.forget(&id);
        assert!(failures.newest(&id).is_empty());
    }
}

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use certward_pki::{ClientOffer, ClientTrust, DeviceCertificate};
use certward_store::{DeploymentRef, Timestamp, TrustScope};

use crate::{Protocol, routing::sni::OwnHost};

/// What is known of a device whose broker has accepted it. Paid for each connected device.
#[derive(Debug)]
pub(crate) struct SessionFacts {
    pub(crate) deployment: Arc<DeploymentRef>,
    /// `None` without a client certificate.
    pub(crate) device: Option<Arc<DeviceCertificate>>,
    pub(crate) address: SocketAddr,
    /// What it asked for, if that is a host of its deployment, or covered by one.
    pub(crate) host: Option<Box<str>>,
    /// See [`OwnHost`].
    pub(crate) is_below_wildcard: bool,
    pub(crate) protocol: Protocol,
    /// `1.2` or `1.3`.
    pub(crate) tls_version: &'static str,
    pub(crate) offer: Option<Arc<ClientOffer>>,
    /// When its broker accepted it.
    pub(crate) since: Timestamp,
    pub(crate) count: OfferCount,
}

/// Whether a session's offer counts in this hour. Changed under the lock of the hour's table only.
#[derive(Debug, Default)]
pub(crate) struct OfferCount {
    is_counted: AtomicBool,
    is_over: AtomicBool,
}

impl OfferCount {
    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted.load(Ordering::Relaxed)
    }

    /// The session has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.is_counted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.is_counted.store(false, Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl SessionFacts {
    /// The deployment's host that is in use: below a wildcard, the wildcard, since a stranger may
    /// invent names without end.
    pub(crate) fn host_in_use(&self) -> Option<Cow<'_, str>> {
        let asked = self.host.as_deref()?;
        match asked.split_once('.') {
            Some((_, parent)) if self.is_below_wildcard => Some(format!("*.{parent}").into()),
            _ => Some(asked.into()),
        }
    }

    /// IPv4 as such, also through an IPv6 socket.
    pub(crate) fn canonical_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip().to_canonical(), self.address.port())
    }
}

/// A device that waits for its broker.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) deployment: Arc<DeploymentRef>,
    pub(crate) address: SocketAddr,
    pub(crate) host: Option<OwnHost>,
    pub(crate) offer: Option<Arc<ClientOffer>>,
    /// What verified its certificate: the client CAs, and their scope.
    pub(crate) trust: Option<(Arc<ClientTrust>, TrustScope)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_session_are_few() {
        // Paid for each known device, beside its name and its certificate.
        assert!(size_of::<SessionFacts>() <= 104, "{}", size_of::<SessionFacts>());
    }
}

use std::{net::SocketAddr, sync::Arc};

use certward_pki::{ClientOffer, ClientTrust, DeviceCertificate};
use certward_store::{Timestamp, TrustScope};

use crate::Protocol;

/// What is known of a device whose broker has accepted it. Paid for each connected device.
#[derive(Debug)]
pub(crate) struct SessionFacts {
    /// `None` without a client certificate.
    pub(crate) device: Option<Arc<DeviceCertificate>>,
    pub(crate) address: SocketAddr,
    /// What it asked for, if that is a host of its deployment, or covered by one.
    pub(crate) host: Option<Box<str>>,
    pub(crate) protocol: Protocol,
    /// `1.2` or `1.3`.
    pub(crate) tls_version: &'static str,
    pub(crate) offer: Option<Arc<ClientOffer>>,
    /// When its broker accepted it.
    pub(crate) since: Timestamp,
    /// Its offer counts in this hour.
    pub(crate) is_counted: bool,
}

impl SessionFacts {
    /// IPv4 as such, also through an IPv6 socket.
    pub(crate) fn canonical_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip().to_canonical(), self.address.port())
    }
}

/// A device that waits for its broker.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) address: SocketAddr,
    /// As in [`SessionFacts`].
    pub(crate) host: Option<Box<str>>,
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
        assert!(size_of::<SessionFacts>() <= 96, "{}", size_of::<SessionFacts>());
    }
}

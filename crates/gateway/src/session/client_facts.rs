use certward_pki::{DenyKeys, DeviceIdentity, Revocations, validity};

use crate::io::tls::Tls;

/// What a change of revocations asks of a live session's client certificate. Paid for each two-way
/// session.
#[derive(Debug)]
pub(crate) struct ClientFacts {
    /// By the identity that its broker was told. `None` if the certificate cannot be read: it may
    /// be any.
    pub(crate) keys: Option<DenyKeys>,
    /// The last second in which the certificate is valid, since 1970.
    pub(crate) not_after: i64,
}

impl ClientFacts {
    /// `None` without a client certificate.
    pub(crate) fn of(tls: &Tls, identity: DeviceIdentity) -> Option<Box<Self>> {
        let end_entity = tls.peer_certificates()?.first()?;
        Some(Box::new(Self {
            keys: DenyKeys::of(end_entity, identity),
            not_after: validity([end_entity]).map_or(i64::MIN, |valid| *valid.end()),
        }))
    }

    /// One that cannot be read has to verify itself.
    pub(crate) fn is_denied(&self, revocations: &Revocations) -> bool {
        self.keys.as_ref().is_none_or(|keys| revocations.denies(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_client_are_few() {
        // Paid for each two-way session: four hashes and a time.
        assert!(size_of::<ClientFacts>() <= 80, "{}", size_of::<ClientFacts>());
    }
}

use std::borrow::Cow;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::{DenyKeys, DenyList, DeviceIdentity};

/// What a deployment refuses of the certificates that its client CAs issued. Immutable.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// What the deny-list's names are compared with.
    identity: DeviceIdentity,
    denied: Arc<DenyList>,
}

impl Revocations {
    /// `identity`: what the broker is told.
    pub fn new(identity: DeviceIdentity, denied: Arc<DenyList>) -> Self {
        Self { identity, denied }
    }

    /// Whether nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.denied.is_empty()
    }

    /// The intermediates that may be part of a path.
    pub fn candidates<'a>(
        &self,
        intermediates: &'a [CertificateDer<'a>],
        _now: UnixTime,
    ) -> Cow<'a, [CertificateDer<'a>]> {
        Cow::Borrowed(intermediates)
    }

    /// Of a certificate that leads to a client CA.
    ///
    /// # Errors
    /// [`CertificateError::Revoked`], also if it cannot be read while anything is refused.
    pub fn check(&self, end_entity: &CertificateDer<'_>, _now: UnixTime) -> Result<(), CertificateError> {
        if self.denied.is_empty() {
            return Ok(());
        }
        match DenyKeys::of(end_entity, self.identity) {
            Some(keys) if !self.denied.has(&keys) => Ok(()),
            _ => Err(CertificateError::Revoked),
        }
    }

    /// Whether the deny-list has a certificate with these keys.
    pub fn denies(&self, keys: &DenyKeys) -> bool {
        self.denied.has(keys)
    }
}

#[cfg(test)]
mod tests {
    use certward_test_support::Authority;
    use rustls::pki_types::UnixTime;

    use super::*;
    use crate::{ClientTrust, DenyKey, DeviceCertificate};

    const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_000_000));

    #[test]
    fn a_certificate_is_denied_by_each_of_its_keys() {
        let ca = Authority::new("clients");
        let (one, other) = (ca.client("one"), ca.client("other"));
        let trust = ClientTrust::new(vec![ca.der().to_vec().into()]).unwrap();
        let facts = DeviceCertificate::read(&[one.der.clone().into()], &trust, DeviceIdentity::Cn).unwrap();
        let stranger =
            DeviceCertificate::read(&[other.der.clone().into()], &trust, DeviceIdentity::Cn).unwrap();
        let cases = [
            (DenyKey::certificate(facts.id), true),
            (DenyKey::issued(&facts.issuer, &facts.serial), true),
            (DenyKey::named("one"), true),
            (DenyKey::named_by("one", &facts.issuer), true),
            (DenyKey::certificate(stranger.id), false),
            (DenyKey::issued(&facts.issuer, &stranger.serial), false),
            (DenyKey::issued("CN=another", &facts.serial), false),
            (DenyKey::named("One"), false),
            (DenyKey::named_by("one", "CN=another"), false),
            (DenyKey::named(&facts.issuer), false),
        ];
        for (key, is_denied) in cases {
            let revocations = Revocations::new(DeviceIdentity::Cn, Arc::new(DenyList::from_iter([key])));
            let verdict = revocations.check(&one.der.clone().into(), NOW);
            assert_eq!(verdict, if is_denied { Err(CertificateError::Revoked) } else { Ok(()) }, "{key:?}");
            let keys = DenyKeys::of(&one.der, DeviceIdentity::Cn).unwrap();
            assert_eq!(revocations.denies(&keys), is_denied, "{key:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_as_soon_as_anything_is_denied() {
        let garbage = CertificateDer::from(vec![0x30, 0]);
        assert_eq!(Revocations::default().check(&garbage, NOW), Ok(()));
        let denied = Arc::new(DenyList::from_iter([DenyKey::named("x")]));
        let verdict = Revocations::new(DeviceIdentity::Cn, denied).check(&garbage, NOW);
        assert_eq!(verdict, Err(CertificateError::Revoked));
    }
}

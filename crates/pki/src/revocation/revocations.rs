use std::borrow::Cow;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::crl::{CertificateRole, SignedSerial};
use crate::{CrlTable, DenyKeys, DenyList, DeviceIdentity};

/// What a deployment refuses of the certificates that its client CAs issued. Immutable.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// What the deny-list's names are compared with.
    identity: DeviceIdentity,
    denied: Arc<DenyList>,
    crls: Vec<Arc<CrlTable>>,
}

/// The intermediates of a chain that may be part of a path.
#[derive(Debug, Clone)]
pub struct PathCandidates<'a> {
    /// Without those that a CRL refuses.
    pub left: Cow<'a, [CertificateDer<'a>]>,
    /// Why others were left out: the reason if no path is found without them.
    pub refusal: Option<CertificateError>,
}

/// Signatures of intermediates that are verified for one client; more than an honest chain needs.
/// Beyond them, an entry of a CRL counts without asking who signed.
const SIGNATURES_MAX: usize = 16;

impl Revocations {
    /// `identity`: what the broker gets as a device's name.
    pub fn new(identity: DeviceIdentity, denied: Arc<DenyList>) -> Self {
        Self { identity, denied, crls: Vec::new() }
    }

    /// With these CRLs in place of those before.
    #[must_use]
    pub fn with_crls(self, crls: Vec<Arc<CrlTable>>) -> Self {
        Self { crls, ..self }
    }

    /// Whether nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.denied.is_empty() && self.crls.is_empty()
    }

    /// Asks the CRLs about the intermediates, once: signatures may have to be verified.
    pub fn candidates<'a>(
        &self,
        intermediates: &'a [CertificateDer<'a>],
        now: UnixTime,
    ) -> PathCandidates<'a> {
        let refusals = self.refusals(intermediates, now);
        let refusal = refusals.iter().flatten().cloned().reduce(graver);
        if refusal.is_none() {
            return PathCandidates { left: Cow::Borrowed(intermediates), refusal };
        }
        let left = intermediates.iter().zip(refusals).filter(|(_, refusal)| refusal.is_none());
        PathCandidates { left: left.map(|(intermediate, _)| intermediate.clone()).collect(), refusal }
    }

    /// Of a certificate that leads to a client CA.
    ///
    /// # Errors
    /// [`CertificateError::Revoked`], also if it cannot be read while anything is refused;
    /// [`CertificateError::ExpiredRevocationList`] if a CRL of its issuer must be current.
    pub fn check(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
        if !self.denied.is_empty() {
            match DenyKeys::of(end_entity, self.identity) {
                Some(keys) if !self.denied.has(&keys) => {}
                _ => return Err(CertificateError::Revoked),
            }
        }
        if self.crls.is_empty() {
            return Ok(());
        }
        let certificate = SignedSerial::read(end_entity).ok_or(CertificateError::Revoked)?;
        let mut signatures = usize::MAX;
        self.refusal_by_crl(&certificate, CertificateRole::EndEntity, now, &mut signatures)
            .map_or(Ok(()), Err)
    }

    /// Whether the deny-list has a certificate with these keys.
    pub fn denies(&self, keys: &DenyKeys) -> bool {
        self.denied.has(keys)
    }

    /// Of each. Unreadable ones are part of no path.
    fn refusals(&self, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Vec<Option<CertificateError>> {
        if self.crls.is_empty() {
            return Vec::new();
        }
        let mut signatures = SIGNATURES_MAX;
        let refusal = |der: &CertificateDer<'_>| {
            let certificate = SignedSerial::read(der)?;
            self.refusal_by_crl(&certificate, CertificateRole::Ca, now, &mut signatures)
        };
        intermediates.iter().map(refusal).collect()
    }

    /// `signatures`: how many may be verified.
    fn refusal_by_crl(
        &self,
        certificate: &SignedSerial<'_>,
        role: CertificateRole,
        now: UnixTime,
        signatures: &mut usize,
    ) -> Option<CertificateError> {
        let mut refusal = None;
        for crl in &self.crls {
            let Some(objection) = crl.objection(certificate, role, now) else { continue };
            let counts = match signatures.checked_sub(1) {
                Some(left) => {
                    *signatures = left;
                    crl.has_signed(certificate)
                }
                None => true,
            };
            if counts {
                refusal = refusal.into_iter().chain([objection]).reduce(graver);
            }
        }
        refusal
    }
}

/// Revoked rather than unknown.
fn graver(one: CertificateError, other: CertificateError) -> CertificateError {
    if one == CertificateError::Revoked { one } else { other }
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

//! A cache of verified client chains; saves a fifth of a two-way handshake.
//!
//! Keyed by the SHA-256 of trust scope and chain as sent. A scope's client CAs are only added to:
//! a removed one draws another scope. An entry holds while its certificates are valid. Only
//! accepted chains are kept; each handshake still proves possession of the key.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256};
use certward_pki::{ClientCaNames, ClientCertificate, validity};
use certward_store::TrustScope;
use quick_cache::sync::Cache;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::observe::refused_client::report;

/// About 100 bytes each: a fleet reconnecting after an outage.
const CHAINS_MAX: usize = 50_000;

type ChainHash = [u8; 32];

/// First and last valid second since 1970.
type Validity = (i64, i64);

#[derive(Debug)]
pub(crate) struct VerifiedChains(Cache<ChainHash, Validity>);

impl Default for VerifiedChains {
    fn default() -> Self {
        Self(Cache::new(CHAINS_MAX))
    }
}

impl VerifiedChains {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Calls `verifier` for unknown chains only.
    pub(crate) fn remembering(
        self: &Arc<Self>,
        verifier: Arc<dyn ClientCertVerifier>,
        scope: TrustScope,
    ) -> Arc<dyn ClientCertVerifier> {
        let client_cas = OnceLock::new();
        Arc::new(Remembering { verifier, scope, chains: Arc::clone(self), client_cas })
    }
}

#[derive(Debug)]
struct Remembering {
    verifier: Arc<dyn ClientCertVerifier>,
    scope: TrustScope,
    chains: Arc<VerifiedChains>,
    /// Read on the first refusal.
    client_cas: OnceLock<ClientCaNames>,
}

impl Remembering {
    fn client_cas(&self) -> &ClientCaNames {
        self.client_cas.get_or_init(|| ClientCaNames::of(self.verifier.root_hint_subjects()))
    }

    fn hash(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> ChainHash {
        let mut context = Context::new(&SHA256);
        context.update(&self.scope.0);
        for certificate in std::iter::once(leaf).chain(intermediates) {
            // Length-prefixed: no two chains hash the same bytes.
            context.update(&(certificate.len() as u64).to_be_bytes());
            context.update(certificate);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

impl ClientCertVerifier for Remembering {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let hash = self.hash(end_entity, intermediates);
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if self.chains.0.get(&hash).is_some_and(|(first, last)| (first..=last).contains(&at)) {
            return Ok(ClientCertVerified::assertion());
        }
        let verified =
            self.verifier.verify_client_cert(end_entity, intermediates, now).inspect_err(|error| {
                report(|| ClientCertificate::of_refused(end_entity, intermediates, self.client_cas(), error));
            })?;
        if let Some(valid) = validity(std::iter::once(end_entity).chain(intermediates)) {
            self.chains.0.insert(hash, (*valid.start(), *valid.end()));
        }
        Ok(verified)
    }

    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, dss)
            .inspect_err(|_| report(|| ClientCertificate::of(certificate)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, dss)
            .inspect_err(|_| report(|| ClientCertificate::of(certificate)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.verifier.requires_raw_public_keys()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use certward_test_support::{Leaf, client_params};
    use rustls::CertificateError;
    use time::OffsetDateTime;

    use super::*;

    /// Counts calls and accepts valid chains, as webpki would.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl ClientCertVerifier for Counting {
        fn verify_client_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            now: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match validity([end_entity]).unwrap().contains(&(now.as_secs() as i64)) {
                true => Ok(ClientCertVerified::assertion()),
                false => Err(CertificateError::Expired.into()),
            }
        }

        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            Vec::new()
        }
    }

    fn certificate() -> CertificateDer<'static> {
        let mut params = client_params("device");
        params.not_before = OffsetDateTime::from_unix_timestamp(1_000).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(9_000).unwrap();
        Leaf::self_signed(params).der.into()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn scope(number: u8) -> TrustScope {
        TrustScope([number; 16])
    }

    #[test]
    fn a_chain_is_verified_once_for_each_trust_scope_and_each_form() {
        let (counting, chains) = (Arc::<Counting>::default(), Arc::<VerifiedChains>::default());
        let in_scope = |number| chains.remembering(counting.clone(), scope(number));
        let (leaf, other, now) = (certificate(), certificate(), at(5_000));
        let steps: [(u8, &CertificateDer<'_>, &[CertificateDer<'_>], usize); 7] = [
            (1, &leaf, &[], 1),
            (1, &leaf, &[], 1),
            // Scope, length and leaf are part of the key.
            (2, &leaf, &[], 2),
            (1, &leaf, std::slice::from_ref(&other), 3),
            (1, &other, &[], 4),
            (1, &other, &[], 4),
            (2, &leaf, &[], 4),
        ];
        for (number, leaf, intermediates, asked) in steps {
            in_scope(number).verify_client_cert(leaf, intermediates, now).unwrap();
            assert_eq!(counting.0.load(Ordering::Relaxed), asked);
        }
    }

    #[test]
    fn what_is_remembered_ends_with_the_validity_on_both_sides() {
        let (counting, chains) = (Arc::<Counting>::default(), Arc::<VerifiedChains>::default());
        let (verifier, leaf) = (chains.remembering(counting, scope(1)), certificate());
        for (seconds, passes) in [(9_000, true), (9_001, false), (999, false), (1_000, true)] {
            assert_eq!(verifier.verify_client_cert(&leaf, &[], at(seconds)).is_ok(), passes, "{seconds}");
        }
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let (counting, chains) = (Arc::<Counting>::default(), Arc::<VerifiedChains>::default());
        let (verifier, leaf) = (chains.remembering(counting.clone(), scope(1)), certificate());
        for asked in 1..=3 {
            assert!(verifier.verify_client_cert(&leaf, &[], at(500)).is_err());
            assert_eq!(counting.0.load(Ordering::Relaxed), asked);
        }
    }
}

//! webpki's verdict on a chain in the normal form.
//!
//! webpki does all but policies, which are checked here for each path that it finds.

use std::cell::Cell;

use rustls::Error;
use rustls_pki_types::{CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::ClientRefusal;
use crate::normal_form::{NameForms, NormalForm, OriginalSignatureAlgorithm, without_critical_policies};
use crate::policies::check_policies;
use crate::pss::Pss;
use crate::signed::Signed;
use crate::webpki_refusal::{refusal_of, refused};

#[derive(Debug)]
pub(crate) struct NormalAnchors {
    anchors: Vec<TrustAnchor<'static>>,
    pub(crate) names: Vec<NameForms>,
}

/// webpki's maximum in a path. `path_candidates` bounds the search among them, webpki itself the
/// signatures: to 100.
const ISSUERS_MAX: usize = 6;

impl NormalAnchors {
    pub(crate) fn of(anchors: &[TrustAnchor<'static>]) -> Self {
        let normal = anchors.iter().filter_map(|anchor| {
            let name = NameForms::of(&anchor.subject)?;
            Some((TrustAnchor { subject: Der::from(name.normal.clone()), ..anchor.clone() }, name))
        });
        let (anchors, names) = normal.unzip();
        Self { anchors, names }
    }

    /// `None` if the form cannot be the reason of a refusal.
    pub(crate) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        if issuers.len() > ISSUERS_MAX {
            let is_about_policies = |der| without_critical_policies(der).is_some();
            let too_long = std::iter::once(end_entity).chain(issuers).any(is_about_policies);
            return too_long.then(|| Err(refused(ClientRefusal::ChainTooLong)));
        }
        let mut chain = vec![NormalForm::of(end_entity)?];
        chain.extend(issuers.iter().filter_map(NormalForm::of));
        let signatures = std::iter::once(end_entity).chain(issuers).filter_map(|der| Signed::split(der));
        let pss: Vec<Pss> = signatures
            .filter_map(|signed| Pss::read(signed.algorithm))
            .filter(|pss| !pss.is_usual())
            .collect();
        if pss.is_empty() && !self.is_about_names(&chain) && !is_about_policies(&chain) {
            return None;
        }
        let pss = pss.iter().map(|pss| pss as &dyn SignatureVerificationAlgorithm);
        let algorithms = algorithms.iter().map(|known| *known as &dyn SignatureVerificationAlgorithm);
        let algorithms: Vec<OriginalSignatureAlgorithm<'_>> = algorithms
            .chain(pss)
            .map(|algorithm| OriginalSignatureAlgorithm { algorithm, chain: &chain })
            .collect();
        Some(self.verify_normal(&chain, &algorithms, now))
    }

    fn verify_normal(
        &self,
        chain: &[NormalForm<'_>],
        algorithms: &[OriginalSignatureAlgorithm<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms: Vec<_> =
            algorithms.iter().map(|known| known as &dyn SignatureVerificationAlgorithm).collect();
        let issuers: Vec<_> = chain[1..].iter().map(|issuer| issuer.certificate.clone()).collect();
        let invalid = Cell::new(None);
        let has_valid_policies = |path: &VerifiedPath<'_>| {
            let issuers = path.intermediate_certificates().map(|issuer| issuer.der());
            let path: Vec<_> = std::iter::once(path.end_entity().der()).chain(issuers).collect();
            if !is_path_about_policies(&path, chain) {
                return Ok(());
            }
            check_policies(&path, now).map_err(|refusal| {
                invalid.set(Some(refusal));
                webpki::Error::UnsupportedCriticalExtension
            })
        };
        let verdict = EndEntityCert::try_from(&chain[0].certificate).and_then(|certificate| {
            let usage = KeyUsage::client_auth();
            certificate
                .verify_for_usage(
                    &algorithms,
                    &self.anchors,
                    &issuers,
                    now,
                    usage,
                    None,
                    Some(&has_valid_policies),
                )
                .map(|_| ())
        });
        verdict.map_err(|error| match (&error, invalid.get()) {
            // webpki ranks the bad signature of another path above it.
            (
                webpki::Error::UnsupportedCriticalExtension | webpki::Error::InvalidSignatureForPublicKey,
                Some(refusal),
            ) => refused(refusal),
            _ => refusal_of(error).into(),
        })
    }

    fn is_about_names(&self, chain: &[NormalForm<'_>]) -> bool {
        let subjects = || chain[1..].iter().map(|issuer| &issuer.subject).chain(&self.names);
        chain.iter().any(|subject| subjects().any(|issuer| subject.issuer.differs_in_form_from(issuer)))
    }
}

fn is_about_policies(chain: &[NormalForm<'_>]) -> bool {
    chain.iter().any(|certificate| certificate.has_critical_policies)
}

fn is_path_about_policies(path: &[CertificateDer<'_>], chain: &[NormalForm<'_>]) -> bool {
    let mut on_path = chain.iter().filter(|normal| path.contains(&normal.certificate));
    on_path.any(|certificate| certificate.has_critical_policies)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue, IsCa,
        KeyPair, PKCS_ECDSA_P256_SHA256,
    };
    use rustls::crypto::aws_lc_rs;

    use super::*;
    use crate::work::spent;

    fn params(name: DnValue, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    fn utf8() -> DnValue {
        DnValue::Utf8String("One Name".to_owned())
    }

    fn printable() -> DnValue {
        DnValue::PrintableString("One Name".try_into().unwrap())
    }

    fn key() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
    }

    fn anchors(anchor: &CertificateDer<'static>) -> NormalAnchors {
        NormalAnchors::of(&[webpki::anchor_from_trusted_cert(anchor).unwrap().to_owned()])
    }

    /// `None` without a verdict.
    fn cost(anchor: &CertificateDer<'static>, chain: &[CertificateDer<'static>]) -> Option<usize> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000));
        spent::take();
        anchors(anchor).verify(&chain[0], &chain[1..], algorithms, now)?.unwrap_err();
        Some(spent::take().0)
    }

    /// Anchor names are public: clients can send issuers of that name.
    #[test]
    fn a_chain_of_one_name_is_searched_within_bounds() {
        let anchor = CertifiedIssuer::self_signed(params(utf8(), true), key()).unwrap();
        let invented = || CertifiedIssuer::self_signed(params(printable(), true), key()).unwrap();
        let issuers: Vec<_> = (0..ISSUERS_MAX).map(|_| invented()).collect();
        let leaf = params(printable(), false).signed_by(&key(), &issuers[0]).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(issuers.iter().map(|issuer| issuer.der().clone()));
        assert!(cost(anchor.der(), &chain).is_some_and(|signatures| signatures <= 101));
        chain.push(invented().der().clone());
        assert_eq!(cost(anchor.der(), &chain), None);
    }

    /// Only CAs on a path to an anchor set policies.
    #[test]
    fn policies_that_multiply_are_bounded() {
        // SEQUENCE OF PolicyInformation, 1.2.3.n each; SEQUENCE OF pairs.
        let oid = |n: u8| vec![0x06, 3, 0x2a, 3, n];
        let policies = |numbers: &[u8]| {
            let each = numbers.iter().map(|n| crate::der::wrap(0x30, &oid(*n)));
            crate::der::wrap(0x30, &each.collect::<Vec<_>>().concat())
        };
        let mappings = |pairs: &[(u8, u8)]| {
            let each =
                pairs.iter().map(|(from, to)| crate::der::wrap(0x30, &[oid(*from), oid(*to)].concat()));
            crate::der::wrap(0x30, &each.collect::<Vec<_>>().concat())
        };
        let extension = |last: u64, content: Vec<u8>| {
            let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], content);
            extension.set_criticality(true);
            extension
        };
        let fan = POLICIES_OF_EACH;
        let (all, one): (Vec<u8>, [u8; 1]) = ((1..=fan).collect(), [100]);
        let in_pairs: Vec<(u8, u8)> = all.iter().map(|n| (*n, 100)).collect();
        let out_pairs: Vec<(u8, u8)> = all.iter().map(|n| (100, *n)).collect();
        let anchor = CertifiedIssuer::self_signed(params(utf8(), true), key()).unwrap();
        let mut chain = Vec::new();
        let mut issuer = anchor;
        let root = issuer.der().clone();
        for level in 0..ISSUERS_MAX {
            let mut sub = params(DnValue::Utf8String(format!("sub {level}")), true);
            sub.custom_extensions = match level % 2 {
                0 => vec![extension(32, policies(&all)), extension(33, mappings(&in_pairs))],
                _ => vec![extension(32, policies(&one)), extension(33, mappings(&out_pairs))],
            };
            issuer = CertifiedIssuer::signed_by(sub, key(), &issuer).unwrap();
            chain.insert(0, issuer.der().clone());
        }
        let mut leaf = params(DnValue::Utf8String("leaf".to_owned()), false);
        leaf.custom_extensions = vec![
            extension(32, policies(&[101])),
            // requireExplicitPolicy 0: the verdict depends on the policies.
            extension(36, vec![0x30, 3, 0x80, 1, 0]),
        ];
        chain.insert(0, leaf.signed_by(&key(), &issuer).unwrap().der().clone());
        assert_eq!(cost(&root, &chain), Some(chain.len()));
    }

    /// Policies and mappings per CA: 94 in all, just within the bound.
    const POLICIES_OF_EACH: u8 = 10;
}

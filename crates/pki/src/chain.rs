//! Finds the leaf and the path to its root.
//!
//! The leaf is the key's certificate. An issuer has the issuer's name, may issue, is valid now and
//! made the signature; a name proves nothing: the public EMQX recipe makes two CAs of one name.
//! The chain takes the shortest path to a root, else to the farthest issuer, without the root; a
//! cross-signed root is replaced by that certificate, for devices that trust only the other CA. A
//! path that clients must refuse is used only if no other leads as far. Ties are broken by the
//! certificates, not by upload order.

use std::collections::VecDeque;

use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::private_key::KeyProof;
use crate::signed::SignatureVerdict;

pub(crate) struct GivenCertificate {
    /// The block's index in its field, from 0.
    pub(crate) index: usize,
    pub(crate) certificate: Certificate,
}

/// Numbers index the list of certificates.
pub(crate) struct Chain {
    pub(crate) leaf: usize,
    /// The leaf's issuer first; without the root.
    pub(crate) intermediates: Vec<usize>,
    pub(crate) root: Option<usize>,
    /// Roots replaced by their cross-signed certificate.
    pub(crate) cross_signed_roots: Vec<usize>,
    /// Issuers on another path.
    pub(crate) alternatives: Vec<usize>,
    pub(crate) left_out: Vec<usize>,
    pub(crate) broken: Option<BrokenSignature>,
}

/// A signature that no given certificate made, though one has its issuer's name.
#[derive(Clone, Copy)]
pub(crate) struct BrokenSignature {
    pub(crate) subject: usize,
    pub(crate) issuer: usize,
}

impl Chain {
    /// Compares all pairs; `cert` has at most 10 certificates.
    pub(crate) fn sort(
        given: &[GivenCertificate],
        proof: Option<&KeyProof>,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let issuers = Issuers::find(given);
        let leaf = proven_leaf(given, proof, &issuers, now).or_else(|| likely_leaf(given, &issuers))?;
        let BestPath { mut path, reached } = issuers.best_path(given, leaf, now);
        let broken = issuers.broken(given, leaf, path.last().copied().unwrap_or(leaf));
        let root = path.pop_if(|top| given[*top].certificate.is_self_signed());
        let (others, left_out): (Vec<_>, Vec<_>) = (0..given.len())
            .filter(|n| *n != leaf && !path.contains(n) && root != Some(*n))
            .partition(|n| reached[*n]);
        let is_served = |root: &usize| {
            path.iter().any(|n| given[*n].certificate.is_cross_signed_of(&given[*root].certificate))
        };
        let (cross_signed_roots, alternatives) = others.into_iter().partition(is_served);
        Some(Self { leaf, intermediates: path, root, cross_signed_roots, alternatives, left_out, broken })
    }

    /// Including the root.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.leaf).chain(self.intermediates.iter().copied()).chain(self.root)
    }

    pub(crate) fn served(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.leaf).chain(self.intermediates.iter().copied())
    }
}

/// The issuers of each certificate.
struct Issuers(Vec<Vec<usize>>);

impl Issuers {
    fn find(given: &[GivenCertificate]) -> Self {
        let of = |subject: usize| {
            (0..given.len())
                .filter(|issuer| *issuer != subject)
                .filter(|issuer| issued(&given[*issuer].certificate, &given[subject].certificate))
                .collect()
        };
        Self((0..given.len()).map(of).collect())
    }

    /// Issued a certificate of another key: two self-signed ones of one key issue each other.
    fn has_issued(&self, given: &[GivenCertificate], issuer: usize) -> bool {
        let key = &given[issuer].certificate.spki;
        given
            .iter()
            .zip(&self.0)
            .any(|(subject, issuers)| issuers.contains(&issuer) && subject.certificate.spki != *key)
    }

    fn best_path(&self, given: &[GivenCertificate], leaf: usize, now: OffsetDateTime) -> BestPath {
        let leaf_certificate = &given[leaf].certificate;
        let any = self.reach(given, leaf, |issuer, _| issuer.is_valid_at(now));
        let acceptable = self.reach(given, leaf, |issuer, steps| {
            issuer.is_valid_at(now) && issuer.may_stand_over(leaf_certificate, steps - 1)
        });
        let (path, acceptable) = (any.best(given, leaf), acceptable.best(given, leaf));
        let reaches_root =
            |path: &[usize]| path.last().is_some_and(|top| given[*top].certificate.is_self_signed());
        let leads_as_far = match (reaches_root(&acceptable), reaches_root(&path)) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => acceptable.len() >= path.len(),
        };
        let reached = any.steps.iter().map(Option::is_some).collect();
        BestPath { path: if leads_as_far { acceptable } else { path }, reached }
    }

    /// Breadth first, preferred issuers first; `may` gets an issuer and its distance from the leaf.
    fn reach(
        &self,
        given: &[GivenCertificate],
        leaf: usize,
        may: impl Fn(&Certificate, usize) -> bool,
    ) -> Reached {
        let mut reached = Reached { steps: vec![None; given.len()], came_from: vec![None; given.len()] };
        reached.steps[leaf] = Some(0);
        let mut queue = VecDeque::new();
        // A self-signed leaf is its own root.
        if !given[leaf].certificate.is_self_signed() {
            queue.push_back((leaf, 0_usize));
        }
        while let Some((below, distance)) = queue.pop_front() {
            let mut issuers = self.0[below].clone();
            issuers.sort_by_key(|n| preference(&given[*n].certificate));
            for issuer in issuers {
                let certificate = &given[issuer].certificate;
                if reached.steps[issuer].is_some() || !may(certificate, distance + 1) {
                    continue;
                }
                reached.steps[issuer] = Some(distance + 1);
                reached.came_from[issuer] = Some(below);
                if !certificate.is_self_signed() {
                    queue.push_back((issuer, distance + 1));
                }
            }
        }
        reached
    }

    fn broken(&self, given: &[GivenCertificate], leaf: usize, top: usize) -> Option<BrokenSignature> {
        let certificate = &given[top].certificate;
        if !self.0[top].is_empty() || certificate.is_self_signed() {
            return None;
        }
        let is_named = |n: &usize| {
            let issuer = &given[*n].certificate;
            let is_named = certificate.may_be_issued_by(issuer) && (*n == top || issuer.may_issue());
            // Only key identifiers tell a broken signature from a name that matches by mistake: the
            // certificate's own name, or, above an intermediate, the name of another CA while the
            // clients hold the right one.
            let is_sure = *n != top && top == leaf || certificate.has_key_id_of(issuer);
            is_named && is_sure && certificate.signed_by(issuer) == SignatureVerdict::Broken
        };
        (0..given.len()).find(is_named).map(|issuer| BrokenSignature { subject: top, issuer })
    }
}

struct BestPath {
    path: Vec<usize>,
    /// On any path.
    reached: Vec<bool>,
}

struct Reached {
    /// Distance from the leaf; `None` if unreachable.
    steps: Vec<Option<usize>>,
    came_from: Vec<Option<usize>>,
}

impl Reached {
    /// Without the leaf.
    fn best(&self, given: &[GivenCertificate], leaf: usize) -> Vec<usize> {
        let is_reached = |n: &usize| *n != leaf && self.steps[*n].is_some();
        let is_passed = |root: &Certificate| {
            (0..given.len()).filter(is_reached).any(|n| given[n].certificate.is_cross_signed_of(root))
        };
        let tops = (0..given.len()).filter(is_reached).filter(|n| !is_passed(&given[*n].certificate));
        let top = tops.min_by_key(|n| {
            let certificate = &given[*n].certificate;
            let distance = self.steps[*n].unwrap_or(0);
            if certificate.is_self_signed() {
                (false, distance, preference(certificate))
            } else {
                (true, given.len() - distance, preference(certificate))
            }
        });
        let mut path: Vec<usize> =
            std::iter::successors(top, |n| self.came_from[*n].filter(|below| *below != leaf)).collect();
        path.reverse();
        path
    }
}

fn issued(issuer: &Certificate, subject: &Certificate) -> bool {
    if !issuer.may_issue_or_is_version1_root() || !subject.may_be_issued_by(issuer) {
        return false;
    }
    match subject.signed_by(issuer) {
        SignatureVerdict::Valid => true,
        SignatureVerdict::Broken => false,
        // Nothing can be proven; equal key identifiers are the next best.
        SignatureVerdict::Unsupported => subject.has_key_id_of(issuer),
    }
}

/// Prefers a valid one, then an issued one (a self-signed placeholder is older). One that issued
/// another is a CA, and its key was sent by mistake.
fn proven_leaf(
    given: &[GivenCertificate],
    proof: Option<&KeyProof>,
    issuers: &Issuers,
    now: OffsetDateTime,
) -> Option<usize> {
    let proof = proof?;
    (0..given.len())
        .filter(|n| proof.belongs_to(&given[*n].certificate.spki) && !issuers.has_issued(given, *n))
        .min_by_key(|n| {
            let certificate = &given[*n].certificate;
            (!certificate.is_valid_at(now), certificate.is_self_signed(), preference(certificate))
        })
}

/// Without a key: the first end entity, else a CA.
fn likely_leaf(given: &[GivenCertificate], issuers: &Issuers) -> Option<usize> {
    (0..given.len()).min_by_key(|n| (issuers.has_issued(given, *n), given[*n].certificate.is_ca, *n))
}

/// Latest notAfter first, then by bytes.
fn preference(certificate: &Certificate) -> (std::cmp::Reverse<OffsetDateTime>, &[u8]) {
    (std::cmp::Reverse(certificate.not_after), certificate.der.as_ref())
}

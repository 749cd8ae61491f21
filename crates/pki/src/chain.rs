//! Which certificate is the leaf, and which of the others lead from it towards its root.
//!
//! The rule: the leaf is the certificate that the key belongs to. From it, an issuer is a certificate that has the
//! issuer's name, may issue, is valid now, and whose key **made the signature**; a name alone proves nothing, for
//! the public EMQX recipe makes two CAs of one name. Of all ways up, the one is served that reaches a root, or else
//! the issuer farthest up, by the fewest steps; the root itself is left out. A root that another CA has cross-signed is
//! passed by that certificate, which devices that trust only the other CA need. A way that clients must refuse (path
//! length, name constraints, extended key usage) is taken only where no other leads as far. The order of the upload
//! never decides: ties are broken by the certificates themselves.

use std::collections::VecDeque;

use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::private_key::Proof;
use crate::signed::Verdict;

/// A certificate of the upload and its place there.
pub(crate) struct Given {
    /// The block's place in the field, from 0.
    pub(crate) index: usize,
    pub(crate) certificate: Certificate,
}

/// The sorted upload; all numbers are places in the list of certificates.
pub(crate) struct Chain {
    pub(crate) leaf: usize,
    /// The leaf's issuer first; without the root.
    pub(crate) intermediates: Vec<usize>,
    pub(crate) root: Option<usize>,
    /// Roots whose cross-signed certificate is served.
    pub(crate) cross_signed_roots: Vec<usize>,
    /// Issuers of these too, on another way up than the one that is served.
    pub(crate) alternatives: Vec<usize>,
    /// Nothing of all that.
    pub(crate) left_out: Vec<usize>,
    /// Where the chain ends, for a signature does not verify with the issuer that was given.
    pub(crate) broken: Option<Broken>,
}

/// A signature that an issuer should have made, and did not; and nobody else who was given made it.
#[derive(Clone, Copy)]
pub(crate) struct Broken {
    /// The leaf, or the last intermediate.
    pub(crate) subject: usize,
    /// Has the name of the subject's issuer.
    pub(crate) issuer: usize,
}

impl Chain {
    /// Sorts at most a handful of certificates: every one is compared with every other.
    pub(crate) fn sort(given: &[Given], proof: Option<&Proof>, now: OffsetDateTime) -> Option<Self> {
        let issuers = Issuers::find(given);
        let leaf = proven_leaf(given, proof, &issuers, now).or_else(|| likely_leaf(given, &issuers))?;
        let Way { mut path, reached } = issuers.way(given, leaf, now);
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

    /// Leaf, intermediates and root as they belong.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.leaf).chain(self.intermediates.iter().copied()).chain(self.root)
    }

    /// Leaf and intermediates.
    pub(crate) fn served(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.leaf).chain(self.intermediates.iter().copied())
    }
}

/// For each certificate, who of the others signed it.
struct Issuers(Vec<Vec<usize>>);

impl Issuers {
    fn find(given: &[Given]) -> Self {
        let of = |subject: usize| {
            (0..given.len())
                .filter(|issuer| *issuer != subject)
                .filter(|issuer| issued(&given[*issuer].certificate, &given[subject].certificate))
                .collect()
        };
        Self((0..given.len()).map(of).collect())
    }

    /// Whether it issued a certificate of another key: two self-signed ones of one key have issued each other.
    fn has_issued(&self, given: &[Given], issuer: usize) -> bool {
        let key = &given[issuer].certificate.spki;
        given
            .iter()
            .zip(&self.0)
            .any(|(subject, issuers)| issuers.contains(&issuer) && subject.certificate.spki != *key)
    }

    /// The best way up from the leaf, the leaf not included.
    fn way(&self, given: &[Given], leaf: usize, now: OffsetDateTime) -> Way {
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
        Way { path: if leads_as_far { acceptable } else { path }, reached }
    }

    /// Breadth first: each certificate by the fewest steps, the preferred one first; only over those that `may` be
    /// reached in so many steps.
    fn reach(&self, given: &[Given], leaf: usize, may: impl Fn(&Certificate, usize) -> bool) -> Reached {
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

    /// Looks whether the chain ends where a signature is broken.
    fn broken(&self, given: &[Given], leaf: usize, top: usize) -> Option<Broken> {
        let certificate = &given[top].certificate;
        if !self.0[top].is_empty() || certificate.is_self_signed() {
            return None;
        }
        let is_named = |n: &usize| {
            let issuer = &given[*n].certificate;
            let is_named = certificate.may_be_issued_by(issuer) && (*n == top || issuer.may_issue());
            // A certificate may have its issuer's name by mistake; only its key identifier says that it means itself.
            // Of an intermediate, too, only the identifier tells a damaged one from another CA of the same name: the
            // clients may hold the right one.
            let is_sure = *n != top && top == leaf || certificate.has_key_id_of(issuer);
            is_named && is_sure && certificate.signed_by(issuer) == Verdict::Broken
        };
        (0..given.len()).find(is_named).map(|issuer| Broken { subject: top, issuer })
    }
}

/// A way up.
struct Way {
    /// The leaf's issuer first.
    path: Vec<usize>,
    /// Whether a certificate stands on any way up.
    reached: Vec<bool>,
}

/// How the certificates are reached from the leaf.
struct Reached {
    /// The number of steps; `None` if there is no way.
    steps: Vec<Option<usize>>,
    came_from: Vec<Option<usize>>,
}

impl Reached {
    /// To the nearest root, or else as far up as it goes; the leaf not included.
    fn best(&self, given: &[Given], leaf: usize) -> Vec<usize> {
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
        Verdict::Valid => true,
        Verdict::Broken => false,
        // Nothing can be proven; equal key identifiers on both sides are the next best.
        Verdict::Unsupported => subject.has_key_id_of(issuer),
    }
}

/// The certificate that the key belongs to. One key may have several certificates, of which one is
/// a renewal, and a self-signed one the placeholder of the time before the CA had issued one; but a
/// certificate that issued another of the upload is a CA, and its key was sent by mistake.
fn proven_leaf(
    given: &[Given],
    proof: Option<&Proof>,
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

/// Without a key, the first end entity; a CA only if there is nothing else.
fn likely_leaf(given: &[Given], issuers: &Issuers) -> Option<usize> {
    (0..given.len()).min_by_key(|n| (issuers.has_issued(given, *n), given[*n].certificate.is_ca, *n))
}

/// The longest valid first, then by the bytes: the same whatever order the upload has.
fn preference(certificate: &Certificate) -> (std::cmp::Reverse<OffsetDateTime>, &[u8]) {
    (std::cmp::Reverse(certificate.not_after), certificate.der.as_ref())
}

//! How a client's certificate leads to a client CA.
//!
//! Devices of one path are trusted alike, whatever the client CAs, so verifying one of them is
//! enough. Their dates differ, and so do their names: a new client CA with name constraints may
//! refuse some of a path.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::Validity;
use x509_parser::prelude::FromDer as _;

use crate::client_verifier::signers_among;
use crate::normal_form::is_about_policies;
use crate::normal_name::normal_name;
use crate::path_candidates::path_candidates;
use crate::short_hash::short_hash;
use crate::signed::{SignatureVerdict, Signed};
use crate::tbs::{Extension, Tbs};
use crate::{ClientTrust, fingerprint};

/// Identifies an [`IssuerPath`] within a deployment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerPathId(pub [u8; 16]);

hexadecimal!(IssuerPathId);

/// How a device's certificate leads to a client CA: devices of one path are trusted alike, but for
/// their dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerPath {
    /// Identifies it.
    pub id: IssuerPathId,
    /// A device's certificate of this path, DER, and those that it sent beside whose keys issued
    /// it, or another of them.
    pub example: Vec<Vec<u8>>,
    /// The notAfter of the example's first certificate.
    pub example_not_after: OffsetDateTime,
    /// The client CA that it leads to: its fingerprint (SHA-256 of the DER, lower-case
    /// hexadecimal).
    pub client_ca: Box<str>,
}

impl IssuerPath {
    /// `None` if it does not lead to `trust`.
    pub(crate) fn find(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        trust: &ClientTrust,
    ) -> Option<Self> {
        // As the verifier selects them.
        let signers = signers_among(intermediates);
        let candidates = path_candidates(end_entity, &signers).ok()?;
        let leaf = Link::read(end_entity)?;
        let sent: Vec<_> = candidates.iter().filter_map(|der| Link::read(der)).collect();
        let issuers = issuers_among(&sent, &leaf);
        let anchors: Vec<_> = trust.anchors().iter().filter_map(|der| Link::read(der)).collect();
        let path = PathSearch { issuers: &issuers, anchors: &anchors, leads: true }.path_above(&leaf, &[])?;
        let anchor = path.last()?;
        // The root itself leads no farther than the client CA.
        let is_root = |link: &Link<'_>| link.subject == link.issuer && link.tbs.spki == anchor.tbs.spki;
        let sent: Vec<&[u8]> = issuers.iter().filter(|link| !is_root(link)).map(|link| link.der).collect();
        let (_, validity) = Validity::from_der(leaf.tbs.validity).ok()?;
        Some(Self {
            id: IssuerPathId::of(&leaf, &sent, &path)?,
            example_not_after: validity.not_after.to_datetime(),
            example: std::iter::once(leaf.der).chain(sent).map(<[u8]>::to_vec).collect(),
            client_ca: fingerprint(anchor.der).into(),
        })
    }

    /// Which of these client CAs it leads to, whatever they are: the index of the first. Verifies
    /// signatures: not on an async thread. Dates and constraints do not matter.
    pub fn client_ca_among(&self, client_cas: &[impl AsRef<[u8]>]) -> Option<usize> {
        let (leaf, sent) = self.example.split_first()?;
        let leaf = Link::read(leaf)?;
        let sent: Vec<_> = sent.iter().filter_map(|der| Link::read(der)).collect();
        let issuers: Vec<_> = sent.iter().collect();
        let anchors: Vec<_> = client_cas.iter().filter_map(|der| Link::read(der.as_ref())).collect();
        let path =
            PathSearch { issuers: &issuers, anchors: &anchors, leads: false }.path_above(&leaf, &[])?;
        let anchor = path.last()?;
        client_cas.iter().position(|der| der.as_ref() == anchor.der)
    }
}

impl IssuerPathId {
    /// Of all that decides on trust: names and keys of those above the leaf, so that a CA can be
    /// renewed; what was sent beside the leaf, in any order; and the leaf's own part.
    fn of(leaf: &Link<'_>, sent: &[&[u8]], path: &[&Link<'_>]) -> Option<Self> {
        let mut sent = sent.to_vec();
        sent.sort_unstable();
        let path = short_hash(path.iter().flat_map(|link| [&link.subject[..], link.tbs.spki]));
        Some(Self(short_hash([&path[..], &short_hash(sent), &leaf_part(leaf)?])))
    }
}

/// What of a leaf decides on trust, besides its dates and names.
fn leaf_part(leaf: &Link<'_>) -> Option<[u8; 16]> {
    let (version, algorithm) = leaf.tbs.version_and_algorithm()?;
    let signature = Signed::split(leaf.der)?.algorithm;
    let extensions: Vec<Extension<'_>> = leaf.tbs.extensions().collect::<Result<_, _>>().ok()?;
    let mut parts = vec![leaf.tbs.issuer, version, algorithm, signature];
    for Extension { oid, is_critical, value } in &extensions {
        if *is_critical || decides_by_value(oid) {
            let value = if decides_by_value(oid) { value } else { &[][..] };
            parts.extend([*oid, if *is_critical { &[0xff] } else { &[0] }, value]);
        }
    }
    Some(short_hash(parts))
}

/// keyUsage, basicConstraints, nameConstraints, extKeyUsage and policies. Others are either not
/// read or, if critical, known or not by their type. A device's own name is no part of a path.
fn decides_by_value(oid: &[u8]) -> bool {
    matches!(oid, [0x55, 0x1d, 15 | 19 | 30 | 37]) || is_about_policies(oid)
}

/// A certificate and its names in the normal form.
struct Link<'a> {
    der: &'a [u8],
    tbs: Tbs<'a>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
}

impl<'a> Link<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let tbs = Tbs::read(der)?;
        let normal = |name: &[u8]| normal_name(name).unwrap_or_else(|| name.to_vec());
        let (issuer, subject) = (normal(tbs.issuer), normal(tbs.subject));
        Some(Self { der, tbs, issuer, subject })
    }

    fn is_signed_by(&self, issuer: &Link<'_>) -> bool {
        let verdict = Signed::split(self.der).map(|signed| signed.verify(issuer.tbs.spki));
        verdict == Some(SignatureVerdict::Valid)
    }
}

/// Those that issued the leaf, or another of them, by signature. Others decide nothing, and a
/// device that sent them would have as many paths as it likes. `path_candidates` bounds the search.
fn issuers_among<'a>(sent: &'a [Link<'a>], leaf: &Link<'a>) -> Vec<&'a Link<'a>> {
    let (mut found, mut others): (Vec<_>, Vec<_>) =
        sent.iter().partition(|issuer| leaf.issuer == issuer.subject && leaf.is_signed_by(issuer));
    let mut next = 0;
    while let Some(subject) = found.get(next).copied() {
        let has_issued =
            |issuer: &&Link<'_>| subject.issuer == issuer.subject && subject.is_signed_by(issuer);
        let (more, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(has_issued);
        found.extend(more);
        others = rest;
        next += 1;
    }
    found
}

struct PathSearch<'a> {
    issuers: &'a [&'a Link<'a>],
    anchors: &'a [Link<'a>],
    /// A verifier has found a path: where one key has the name, it is the issuer's.
    leads: bool,
}

impl<'a> PathSearch<'a> {
    /// Up to an anchor; anchors first, as webpki. `path_candidates` bounds the search.
    fn path_above(&self, subject: &Link<'_>, below: &[&'a Link<'a>]) -> Option<Vec<&'a Link<'a>>> {
        let is_named = |issuer: &&Link<'_>| issuer.subject == subject.issuer;
        let anchors = self.anchors.iter().filter(is_named);
        let issuers =
            self.issuers.iter().copied().filter(is_named).filter(|issuer| !has_key_of(below, issuer));
        let mut keys = anchors.clone().chain(issuers.clone()).map(|issuer| issuer.tbs.spki);
        let key = keys.next()?;
        let is_sure = self.leads && keys.all(|other| other == key);
        let has_issued = |issuer: &&Link<'_>| is_sure || subject.is_signed_by(issuer);
        let below_and = |issuer: &'a Link<'a>| [below, &[issuer]].concat();
        if let Some(anchor) = anchors.clone().find(|anchor| has_issued(anchor)) {
            return Some(below_and(anchor));
        }
        issuers.filter(has_issued).find_map(|issuer| self.path_above(issuer, &below_and(issuer)))
    }
}

/// RFC 4158 §5.2: no certificate of the same name and key twice.
fn has_key_of(path: &[&Link<'_>], link: &Link<'_>) -> bool {
    path.iter().any(|other| other.subject == link.subject && other.tbs.spki == link.tbs.spki)
}

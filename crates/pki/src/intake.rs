use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::case::Case;
use crate::rules::RULES;
use crate::{CertificateFacts, Finding, HostName, Material, Profile};

/// The text of one property of an upload. Wiped on drop, for any field may hold a key by mistake.
#[derive(Default)]
pub enum Text {
    /// Absent, or null.
    #[default]
    Absent,
    /// Present, but of another JSON type than a string.
    NotText,
    /// The text as it came.
    Given(Zeroizing<String>),
}

/// An upload as it came in: nothing about it is known to be right.
#[derive(Default)]
pub struct Upload {
    /// `tlsType`: `one-way` or `two-way`.
    pub tls_type: Text,
    /// `cert`: the leaf and its chain, PEM.
    pub cert: Text,
    /// `key`: the leaf's private key, PEM.
    pub key: Text,
    /// `keyPassword`: what opens the key, if it is encrypted.
    pub key_password: Text,
    /// `cacert`: the client CAs, PEM.
    pub cacert: Text,
}

/// What the judgement needs to know about the world beside the upload.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The time to judge validity by.
    pub now: OffsetDateTime,
    /// The hosts of the deployment; a host that the leaf's names do not cover is a warning.
    pub hosts: &'a [HostName],
    /// Whether a device can reach the deployment at all, by a host or a bound listener; if not, a warning.
    pub has_way_in: bool,
    /// How strictly to judge.
    pub profile: Profile,
}

/// What is said about an upload, and what would be served.
#[derive(Debug)]
pub struct Judgement {
    /// All findings, most important first; at most 100.
    pub findings: Vec<Finding>,
    /// What to serve: there exactly when no finding is an error.
    pub material: Option<Material>,
    /// The chain as far as it was found, refused or not: leaf, intermediates, and the root if it was given.
    pub chain: Vec<CertificateFacts>,
}

/// More findings than a person reads; hundreds of damaged blocks must not become hundreds of lines. The most
/// important are kept.
const FINDINGS_MAX: usize = 100;

/// Judges an upload: text in, findings and, when none of them refuses it, material out.
///
/// Pure: the same upload in the same circumstances is judged alike. The cost is bounded for any input.
pub fn judge(upload: &Upload, circumstances: &Circumstances<'_>) -> Judgement {
    let mut findings = Vec::new();
    let case = Case::read(upload, circumstances, &mut findings);
    for rule in RULES {
        rule(&case, &mut findings);
    }
    let chain = case.chain().map(|given| CertificateFacts::of(&given.certificate)).collect();
    let mut material = None;
    if !findings.iter().any(Finding::is_error) {
        match case.into_material() {
            Ok(served) => material = Some(served),
            Err(finding) => findings.push(finding),
        }
    }
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings.truncate(FINDINGS_MAX);
    Judgement { findings, material, chain }
}

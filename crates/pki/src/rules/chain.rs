use std::time::Duration;

use rustls_pki_types::UnixTime;

use crate::Code;
use crate::chain::{BrokenSignature, GivenCertificate};
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::normal_form::NormalForm;
use crate::parsed_upload::ParsedUpload;
use crate::policies::check_policies;
use crate::public_key::Family;
use crate::rules::profile::is_emqx_cloud;
use crate::signed::SignatureKind;

/// Served ones only: clients never check a root's signature.
pub(crate) fn weak_signature(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in parsed.served() {
        if let Some(hash) = given.certificate.weak_hash {
            let message = format!("Block {} of cert is signed with {hash}.", given.index);
            findings.push(Finding::new(Code::WeakSignature, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn signature_unverified(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in served_of_kind(parsed, SignatureKind::Unsupported) {
        let message = format!(
            "The algorithm of the signature in block {} of cert is not supported; it was not checked.",
            given.index
        );
        findings.push(Finding::new(Code::SignatureUnverified, Field::Cert, given.item(), message));
    }
}

pub(crate) fn signature_uncommon(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in served_of_kind(parsed, SignatureKind::Uncommon) {
        let message = format!(
            "Block {} of cert is signed with RSASSA-PSS and a salt that is not as long as the hash.",
            given.index
        );
        findings.push(Finding::new(Code::SignatureUncommon, Field::Cert, given.item(), message));
    }
}

/// Weak hashes and unverifiable issuer keys have their own findings.
fn served_of_kind<'a>(
    parsed: &'a ParsedUpload<'_>,
    kind: SignatureKind,
) -> impl Iterator<Item = &'a GivenCertificate> {
    let issuers = parsed.issuers().map(Some).chain(std::iter::repeat(None));
    parsed.served().zip(issuers).filter_map(move |(given, issuer)| {
        let certificate = &given.certificate;
        let is_own = certificate.is_self_signed().then_some(certificate);
        let signer = issuer.map(|issuer| &issuer.certificate).or(is_own);
        let is_named =
            certificate.weak_hash.is_some() || signer.is_some_and(|signer| !signer.key_kind.is_verifiable());
        (certificate.signature_kind == kind && !is_named).then_some(given)
    })
}

pub(crate) fn critical_extension_unknown(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in parsed.served() {
        if let Some(oid) = &given.certificate.unknown_critical {
            let message = format!("Block {} of cert has the unknown critical extension {oid}.", given.index);
            findings.push(Finding::new(Code::CriticalExtensionUnknown, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn policy_critical(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in parsed.served().filter(|given| given.certificate.has_critical_policies) {
        let message = format!("Block {} of cert has a critical extension about policies.", given.index);
        findings.push(Finding::new(Code::PolicyCritical, Field::Cert, given.item(), message));
    }
}

/// The root's extensions do not count (RFC 5280 §6.1).
pub(crate) fn policy_violated(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    if !parsed.served().any(|given| given.certificate.has_critical_policies) {
        return;
    }
    let path: Vec<_> = parsed.served().filter_map(|given| NormalForm::of(&given.certificate.der)).collect();
    let path: Vec<_> = path.iter().map(|form| form.certificate.clone()).collect();
    let now = parsed.circumstances.now.unix_timestamp().unsigned_abs();
    if let Err(refusal) = check_policies(&path, UnixTime::since_unix_epoch(Duration::from_secs(now))) {
        let message = format!("The policies in the leaf and its issuers are not valid: {refusal}.");
        findings.push(Finding::new(Code::PolicyViolated, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn issuer_name_form(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for (given, issuer) in parsed.served().zip(parsed.issuers()) {
        if given.certificate.names_in_another_form(&issuer.certificate) {
            let message = format!(
                "Block {} of cert names its issuer in other bytes than block {} names itself.",
                given.index, issuer.index
            );
            findings.push(Finding::new(Code::IssuerNameForm, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn signature_broken(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &parsed.chain else { return };
    let Some(BrokenSignature { subject, issuer }) = chain.broken else { return };
    let (given, issuer) = (&parsed.certificates[subject], &parsed.certificates[issuer]);
    let (code, which) = match subject == chain.leaf {
        true => (Code::LeafSignatureBroken, "The leaf".to_owned()),
        false => (Code::ChainSignatureBroken, format!("Block {} of cert", given.index)),
    };
    let message = format!(
        "{which} names {} as its issuer, but its signature does not verify with the key in block {} of cert.",
        given.certificate.issuer, issuer.index
    );
    findings.push(Finding::new(code, Field::Cert, given.item(), message));
}

/// Self-issued CAs do not count (RFC 5280 §6.1.4 (l)).
pub(crate) fn path_length_exceeded(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let mut cas_below = 0;
    for given in parsed.issuers() {
        let certificate = &given.certificate;
        if let Some(most) = certificate.path_len.filter(|_| !certificate.allows_path(cas_below)) {
            let message = format!(
                "Block {} of cert allows {most} CAs below itself, and {cas_below} stand between it and the leaf.",
                given.index
            );
            findings.push(Finding::new(Code::PathLengthExceeded, Field::Cert, given.item(), message));
        }
        cas_below += usize::from(!certificate.is_self_issued());
    }
}

pub(crate) fn name_constraint_violated(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    for given in parsed.issuers() {
        if let Some(name) = given.certificate.name_refusal(&leaf.certificate) {
            let message = format!(
                "The name constraints in block {} of cert do not allow the leaf's names: {name}.",
                given.index
            );
            findings.push(Finding::new(Code::NameConstraintViolated, Field::Cert, given.item(), message));
        }
    }
}

/// Clients use only a root's key and name.
pub(crate) fn issuer_not_for_servers(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in parsed.served().skip(1).filter(|given| !given.certificate.is_for_servers()) {
        let message =
            format!("Block {} of cert may issue for other purposes than TLS servers only.", given.index);
        findings.push(Finding::new(Code::IssuerNotForServers, Field::Cert, given.item(), message));
    }
}

pub(crate) fn purpose_any(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in parsed.served() {
        if given.certificate.extended_key_usage.is_some_and(|usage| usage.any && !usage.server) {
            let message =
                format!("Block {} of cert is for any purpose, and does not name servers.", given.index);
            findings.push(Finding::new(Code::PurposeAny, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn issuer_key_weak(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for given in parsed.issuers() {
        let kind = given.certificate.key_kind;
        if !kind.is_verifiable() {
            let message = format!(
                "The key in block {} of cert is {kind}; many clients verify no signature by it, and none was \
                 verified here.",
                given.index
            );
            findings.push(Finding::new(Code::IssuerKeyWeak, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn missing_intermediate(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let (Some(chain), Some(leaf)) = (&parsed.chain, parsed.leaf()) else { return };
    let is_broken = chain.broken.is_some_and(|broken| broken.subject == chain.leaf);
    let issuer_is_given = !chain.intermediates.is_empty() || chain.root.is_some() || is_broken;
    if issuer_is_given || leaf.certificate.is_self_signed() {
        return;
    }
    let message = format!("The leaf's issuer ({}) was not given.", leaf.certificate.issuer);
    findings.push(Finding::new(Code::MissingIntermediate, Field::Cert, leaf.item(), message));
}

pub(crate) fn issuer_key_kind_differs(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let (Some(chain), Some(leaf)) = (&parsed.chain, parsed.leaf()) else { return };
    let Some(issuer) = chain.in_order().nth(1).map(|n| &parsed.certificates[n].certificate) else { return };
    let kind = leaf.certificate.key_kind;
    if kind.family() != issuer.key_kind.family() && kind.family() != Family::Other {
        let message = format!("The leaf's key is {kind}, its issuer's is {}.", issuer.key_kind);
        let code = match is_emqx_cloud(parsed) {
            true => Code::ProfileKeyKindsDiffer,
            false => Code::IssuerKeyKindDiffers,
        };
        findings.push(Finding::new(code, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn left_out(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &parsed.chain else { return };
    let named = chain.broken.map(|broken| broken.issuer);
    for given in chain.left_out.iter().filter(|n| named != Some(**n)).map(|n| &parsed.certificates[*n]) {
        let certificate = &given.certificate;
        let (code, is) = if !certificate.is_valid_at(parsed.circumstances.now) {
            let (from, to) = (shown_time(certificate.not_before), shown_time(certificate.not_after));
            (Code::ChainCertificateExpired, format!("is valid from {from} until {to} only"))
        } else if parsed.served().any(|given| given.certificate.is_issued_without_right_by(certificate)) {
            (Code::IssuerNotCa, "signed another one, but says of itself that it may not".to_owned())
        } else if !certificate.is_ca && certificate.version == 3 {
            (Code::AnotherLeaf, "is another server's or client's certificate, beside the leaf".to_owned())
        } else {
            (Code::UnrelatedCertificate, "is not needed on the way from the leaf to its root".to_owned())
        };
        let message = format!("Block {} of cert {is}, and was left out.", given.index);
        findings.push(Finding::new(code, Field::Cert, given.item(), message));
    }
}

/// A CA beside a self-signed leaf suggests that its certificate was intended; a renewal does not.
pub(crate) fn self_signed_beside_ca(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let (Some(chain), Some(leaf)) = (&parsed.chain, parsed.leaf()) else { return };
    let mut others = chain.left_out.iter().map(|n| &parsed.certificates[*n]);
    let is_another_ca = |given: &&GivenCertificate| {
        given.certificate.may_issue_or_is_version1_root() && given.certificate.spki != leaf.certificate.spki
    };
    if let Some(ca) = others.find(is_another_ca).filter(|_| leaf.certificate.is_self_signed()) {
        let message = format!(
            "The leaf is self-signed: the CA in block {} of cert ({}) did not issue it, and clients that trust that CA cannot verify it.",
            ca.index, ca.certificate.subject
        );
        findings.push(Finding::new(Code::SelfSignedBesideCa, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn cross_signed_left_out(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &parsed.chain else { return };
    for given in chain.alternatives.iter().map(|n| &parsed.certificates[*n]) {
        let message = format!(
            "Block {} of cert is on another way up from the leaf; the shortest to a root is served.",
            given.index
        );
        findings.push(Finding::new(Code::CrossSignedLeftOut, Field::Cert, given.item(), message));
    }
}

pub(crate) fn root_left_out(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &parsed.chain else { return };
    for root in chain.root.iter().map(|n| &parsed.certificates[*n]) {
        let message = format!("Block {} of cert is the root; it is not served.", root.index);
        findings.push(Finding::new(Code::RootLeftOut, Field::Cert, root.item(), message));
    }
    for root in chain.cross_signed_roots.iter().map(|n| &parsed.certificates[*n]) {
        let message = format!(
            "Block {} of cert is a root; it is not served. Its certificate by another CA is.",
            root.index
        );
        findings.push(Finding::new(Code::RootLeftOut, Field::Cert, root.item(), message));
    }
}

pub(crate) fn reordered(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &parsed.chain else { return };
    if !chain.in_order().is_sorted() {
        let message = "The certificates were put in order: leaf first, then each issuer.";
        findings.push(Finding::new(Code::ChainReordered, Field::Cert, None, message));
    }
}

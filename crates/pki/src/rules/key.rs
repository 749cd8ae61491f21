use crate::Code;
use crate::finding::{Field, Finding};
use crate::key_form::RSA_BITS;
use crate::parsed_upload::ParsedUpload;
use crate::public_key::KeyKind;
use crate::unserved_key::unserved_key;

/// It cannot sign, or not for its own public key.
pub(crate) fn key_inconsistent(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    if parsed.key.as_ref().is_some_and(|key| key.proof.is_none()) {
        let message = "The parts of the private key contradict each other; it cannot sign.";
        findings.push(Finding::new(Code::KeyInconsistent, Field::Key, None, message));
    }
}

pub(crate) fn key_mismatch(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let (Some(leaf), Some(key)) = (parsed.leaf(), &parsed.key) else { return };
    let Some(proof) = &key.proof else { return };
    if proof.belongs_to(&leaf.certificate.spki) {
        return;
    }
    let owner = parsed.certificates.iter().find(|given| proof.belongs_to(&given.certificate.spki));
    let message = match owner {
        Some(owner) => format!(
            "The private key ({}) is not the leaf's; it belongs to block {} of cert ({}), which is a CA of this chain.",
            key.kind, owner.index, owner.certificate.subject
        ),
        None => format!(
            "The private key ({}) is not the leaf's: a signature made with it does not verify with the leaf's public key ({}).",
            key.kind, leaf.certificate.key_kind
        ),
    };
    findings.push(Finding::new(Code::KeyMismatch, Field::Key, None, message));
}

/// Unless the private key has the finding already.
pub(crate) fn leaf_key_unsupported(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    let kind = leaf.certificate.key_kind;
    if is_served(kind) {
        return;
    }
    let (code, message) = unserved_key(kind, "The leaf's public key");
    if !findings.iter().any(|finding| finding.code == code && finding.field == Field::Key) {
        findings.push(Finding::new(code, Field::Cert, leaf.item(), message));
    }
}

fn is_served(kind: KeyKind) -> bool {
    match kind {
        KeyKind::Rsa { bits } => RSA_BITS.contains(&bits),
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519 => true,
        _ => false,
    }
}

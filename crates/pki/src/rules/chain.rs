use crate::Code;
use crate::case::Case;
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::public_key::Family;

/// SHA-1 and older on what is served; a root's own signature is never checked by anybody.
pub(crate) fn weak_signature(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for given in case.served() {
        if let Some(hash) = given.certificate.weak_hash {
            let message = format!("Block {} of cert is signed with {hash}.", given.index);
            findings.push(Finding::new(Code::WeakSignature, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn critical_extension_unknown(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for given in case.served() {
        if let Some(oid) = &given.certificate.unknown_critical {
            let message = format!("Block {} of cert has the unknown critical extension {oid}.", given.index);
            findings.push(Finding::new(Code::CriticalExtensionUnknown, Field::Cert, given.item(), message));
        }
    }
}

pub(crate) fn leaf_signature_broken(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (Some(chain), Some(leaf)) = (&case.chain, case.leaf()) else { return };
    let Some(issuer) = chain.broken_under.map(|n| &case.certificates[n]) else { return };
    let message = format!(
        "The leaf names {} as its issuer, but its signature does not verify with the key in block {} of cert.",
        leaf.certificate.issuer, issuer.index
    );
    findings.push(Finding::new(Code::LeafSignatureBroken, Field::Cert, leaf.item(), message));
}

pub(crate) fn missing_intermediate(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (Some(chain), Some(leaf)) = (&case.chain, case.leaf()) else { return };
    let issuer_is_given =
        !chain.intermediates.is_empty() || chain.root.is_some() || chain.broken_under.is_some();
    if issuer_is_given || leaf.certificate.is_self_signed() {
        return;
    }
    let message = format!("The leaf's issuer ({}) was not given.", leaf.certificate.issuer);
    findings.push(Finding::new(Code::MissingIntermediate, Field::Cert, leaf.item(), message));
}

pub(crate) fn issuer_key_kind_differs(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let (Some(chain), Some(leaf)) = (&case.chain, case.leaf()) else { return };
    let Some(issuer) = chain.in_order().nth(1).map(|n| &case.certificates[n].certificate) else { return };
    let kind = leaf.certificate.key_kind;
    if kind.family() != issuer.key_kind.family() && kind.family() != Family::Other {
        let message = format!("The leaf's key is {kind}, its issuer's is {}.", issuer.key_kind);
        findings.push(Finding::new(Code::IssuerKeyKindDiffers, Field::Cert, leaf.item(), message));
    }
}

/// Whatever is neither leaf, intermediate nor root. An issuer out of its time is told apart from a stranger.
pub(crate) fn left_out(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &case.chain else { return };
    for given in
        chain.left_out.iter().filter(|n| chain.broken_under != Some(**n)).map(|n| &case.certificates[*n])
    {
        let certificate = &given.certificate;
        let (code, message) = if certificate.is_valid_at(case.circumstances.now) {
            let message = format!(
                "Block {} of cert is not needed on the way from the leaf to its root, and was left out.",
                given.index
            );
            (Code::UnrelatedCertificate, message)
        } else {
            let (from, to) = (shown_time(certificate.not_before), shown_time(certificate.not_after));
            let message = format!(
                "Block {} of cert is valid from {from} until {to} only, and was left out.",
                given.index
            );
            (Code::ChainCertificateExpired, message)
        };
        findings.push(Finding::new(code, Field::Cert, given.item(), message));
    }
}

pub(crate) fn root_left_out(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(root) = case.chain.as_ref().and_then(|chain| chain.root).map(|n| &case.certificates[n]) else {
        return;
    };
    let message = format!("Block {} of cert is the root; it is not served.", root.index);
    findings.push(Finding::new(Code::RootLeftOut, Field::Cert, root.item(), message));
}

pub(crate) fn reordered(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(chain) = &case.chain else { return };
    if !chain.in_order().is_sorted() {
        let message = "The certificates were put in order: leaf first, then each issuer.";
        findings.push(Finding::new(Code::ChainReordered, Field::Cert, None, message));
    }
}

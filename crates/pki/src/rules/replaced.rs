use crate::Code;
use crate::certificate::Certificate;
use crate::finding::{Field, Finding};
use crate::parsed_upload::ParsedUpload;

/// Devices trust the current leaf's CA, not a new self-signed certificate.
pub(crate) fn self_signed_over_issued(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let (Some(leaf), Some(replaces)) = (parsed.leaf(), parsed.circumstances.replaces.as_ref()) else {
        return;
    };
    // An accepted leaf is readable.
    let Ok(replaced) = Certificate::read(replaces.leaf) else { return };
    let is_its_ca = replaced.normal_issuer == leaf.certificate.normal_subject;
    if leaf.certificate.is_self_signed() && !replaced.is_self_signed() && !is_its_ca {
        let message = format!(
            "The leaf is self-signed, and the certificate that it replaces was issued by {}: devices that trust that \
             CA cannot verify it.",
            replaced.issuer
        );
        findings.push(Finding::new(Code::SelfSignedOverIssued, Field::Cert, leaf.item(), message));
    }
}

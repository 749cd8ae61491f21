//! Refusals of stricter profiles.

use time::Duration;

use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::parsed_upload::ParsedUpload;
use crate::public_key::KeyKind;
use crate::{Code, Profile};

const VALIDITY_LEFT_MIN: Duration = Duration::days(60);

pub(crate) fn validity(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|_| is_emqx_cloud(parsed)) else { return };
    let (now, not_after) = (parsed.circumstances.now, leaf.certificate.not_after);
    // Expiry has its own finding.
    if now <= not_after && not_after - now < VALIDITY_LEFT_MIN {
        let message = format!(
            "The leaf expires at {}; this deployment's profile wants 60 days at least.",
            shown_time(not_after)
        );
        findings.push(Finding::new(Code::ProfileValidityShort, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn key_kind(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|_| is_emqx_cloud(parsed)) else { return };
    let kind = leaf.certificate.key_kind;
    if !matches!(kind, KeyKind::Rsa { bits: 2048 } | KeyKind::P256 | KeyKind::P384) {
        let message = format!(
            "The leaf's key is {kind}; this deployment's profile takes RSA 2048, P-256 and P-384 only."
        );
        findings.push(Finding::new(Code::ProfileKeyKind, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn is_emqx_cloud(parsed: &ParsedUpload<'_>) -> bool {
    parsed.circumstances.profile == Profile::EmqxCloud
}

//! Refusals of stricter profiles.

use time::Duration;

use crate::case::Case;
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::public_key::KeyKind;
use crate::{Code, Profile};

const VALIDITY_LEFT_MIN: Duration = Duration::days(60);

pub(crate) fn validity(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = case.leaf().filter(|_| is_emqx_cloud(case)) else { return };
    let (now, not_after) = (case.circumstances.now, leaf.certificate.not_after);
    // Expiry has its own finding.
    if now <= not_after && not_after - now < VALIDITY_LEFT_MIN {
        let message = format!(
            "The leaf expires at {}; this deployment's profile wants 60 days at least.",
            shown_time(not_after)
        );
        findings.push(Finding::new(Code::ProfileValidityShort, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn key_kind(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = case.leaf().filter(|_| is_emqx_cloud(case)) else { return };
    let kind = leaf.certificate.key_kind;
    if !matches!(kind, KeyKind::Rsa { bits: 2048 } | KeyKind::P256 | KeyKind::P384) {
        let message = format!(
            "The leaf's key is {kind}; this deployment's profile takes RSA 2048, P-256 and P-384 only."
        );
        findings.push(Finding::new(Code::ProfileKeyKind, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn is_emqx_cloud(case: &Case<'_>) -> bool {
    case.circumstances.profile == Profile::EmqxCloud
}

use crate::Code;
use crate::case::Case;
use crate::certificate::Certificate;
use crate::chain::Given;
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::public_key::KeyKind;
use crate::signed::VERIFIABLE_RSA_BITS;

fn for_each(
    case: &Case<'_>,
    findings: &mut Vec<Finding>,
    code: Code,
    fault: impl Fn(&Certificate) -> Option<String>,
) {
    for Given { index, certificate } in &case.client_cas {
        if let Some(fault) = fault(certificate) {
            let item = Some(crate::Item { index: *index, subject: Some(certificate.subject.clone()) });
            findings.push(Finding::new(
                code,
                Field::Cacert,
                item,
                format!("Block {index} of cacert {fault}."),
            ));
        }
    }
}

pub(crate) fn not_a_ca(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for_each(case, findings, Code::CaNotCa, |certificate| {
        if certificate.may_issue_or_is_version1_root() {
            return None;
        }
        Some(match (certificate.is_ca, certificate.version) {
            (true, _) => "is a CA without the key usage keyCertSign".to_owned(),
            (false, 3) => "is not a CA's certificate (it lacks CA:TRUE)".to_owned(),
            (false, version) => {
                format!("is of version {version} and not self-signed, so nothing says that it is a CA")
            }
        })
    });
}

pub(crate) fn version1(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for_each(case, findings, Code::CaVersion1, |certificate| {
        certificate.is_version1_root().then(|| "is a root of X.509 version 1".to_owned())
    });
}

pub(crate) fn expired(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for_each(case, findings, Code::CaExpired, |certificate| {
        (case.circumstances.now > certificate.not_after)
            .then(|| format!("expired at {}", shown_time(certificate.not_after)))
    });
}

pub(crate) fn not_yet_valid(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for_each(case, findings, Code::CaNotYetValid, |certificate| {
        (case.circumstances.now < certificate.not_before)
            .then(|| format!("is not valid before {}", shown_time(certificate.not_before)))
    });
}

/// No client certificate could be verified under it.
pub(crate) fn unusable(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for_each(case, findings, Code::CaUnusable, |certificate| match certificate.key_kind {
        KeyKind::Rsa { bits } if !VERIFIABLE_RSA_BITS.contains(&bits) => {
            Some(format!("has an RSA key of {bits} bits; signatures by it cannot be verified"))
        }
        KeyKind::Rsa { .. } | KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519 => {
            match webpki::anchor_from_trusted_cert(&certificate.der) {
                Ok(_) => None,
                Err(error) => Some(format!("cannot be a trust anchor ({error})")),
            }
        }
        kind => Some(format!("has a key that is {kind}; signatures by it cannot be verified")),
    });
}

/// The names go into every CertificateRequest.
const NAMES_BYTES_MAX: usize = 32 * 1024;

pub(crate) fn names_too_large(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let bytes: usize = case.client_cas.iter().map(|given| given.certificate.subject_der.len()).sum();
    if bytes > NAMES_BYTES_MAX {
        let message = format!(
            "The names of the client CAs have {bytes} bytes together; {NAMES_BYTES_MAX} are allowed."
        );
        findings.push(Finding::new(Code::ClientCaNamesTooLarge, Field::Cacert, None, message));
    }
}

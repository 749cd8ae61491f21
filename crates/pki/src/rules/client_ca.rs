use crate::Code;
use crate::certificate::Certificate;
use crate::chain::GivenCertificate;
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::parsed_upload::ParsedUpload;
use crate::public_key::KeyKind;
use crate::public_key::VERIFIABLE_RSA_BITS;
use crate::signed::SignatureVerdict;

fn for_each<'a>(
    client_cas: impl IntoIterator<Item = &'a GivenCertificate>,
    findings: &mut Vec<Finding>,
    code: Code,
    fault: impl Fn(&Certificate) -> Option<String>,
) {
    for given in client_cas {
        if let Some(fault) = fault(&given.certificate) {
            let message = format!("Block {} of cacert {fault}.", given.index);
            findings.push(Finding::new(code, Field::Cacert, given.item(), message));
        }
    }
}

pub(crate) fn not_a_ca(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for_each(&parsed.client_cas, findings, Code::CaNotCa, |certificate| {
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

pub(crate) fn version1(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for_each(parsed.trusted_client_cas(), findings, Code::CaVersion1, |certificate| {
        certificate.is_version1_root().then(|| "is a root of X.509 version 1".to_owned())
    });
}

/// Beside a valid CA, an expired one must not block the renewal.
pub(crate) fn expired(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let (code, consequence) = match parsed.has_valid_client_ca() {
        true => (Code::CaExpiredLeftOut, ", and was left out of the trust"),
        false => (Code::CaExpired, ""),
    };
    for_each(&parsed.client_cas, findings, code, |certificate| {
        certificate
            .has_expired_at(parsed.circumstances.now)
            .then(|| format!("expired at {}{consequence}", shown_time(certificate.not_after)))
    });
}

pub(crate) fn not_yet_valid(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for_each(&parsed.client_cas, findings, Code::CaNotYetValid, |certificate| {
        is_to_come(parsed, certificate)
            .then(|| format!("is not valid before {}", shown_time(certificate.not_before)))
    });
}

/// None is valid now, but one will be; if all have expired, each is an error already.
pub(crate) fn none_valid(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    if !parsed.has_valid_client_ca()
        && parsed.client_cas.iter().any(|given| is_to_come(parsed, &given.certificate))
    {
        let message = "No CA in cacert is valid now; no client could be verified.";
        findings.push(Finding::new(Code::CaNoneValid, Field::Cacert, None, message));
    }
}

fn is_to_come(parsed: &ParsedUpload<'_>, certificate: &Certificate) -> bool {
    parsed.circumstances.now < certificate.not_before && !certificate.has_expired_at(parsed.circumstances.now)
}

pub(crate) fn unusable(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for_each(parsed.trusted_client_cas(), findings, Code::CaUnusable, |certificate| {
        match certificate.key_kind {
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
        }
    });
}

/// One CA may issue for both sides, so the finding asks.
pub(crate) fn only_servers_own(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let mut cas = parsed.trusted_client_cas().peekable();
    let Some(first) = cas.peek().copied().filter(|_| parsed.client_cas.len() <= SERVER_CAS_MAX) else {
        return;
    };
    if cas.all(|given| is_servers_own(parsed, &given.certificate)) {
        let message = format!(
            "cacert holds only the CA of the server's own certificate ({}); do devices have certificates of it?",
            first.certificate.subject
        );
        findings.push(Finding::new(Code::CaIsServersOwn, Field::Cacert, first.item(), message));
    }
}

/// One server has fewer; bounds the signatures to verify.
const SERVER_CAS_MAX: usize = 10;

/// In the server's chain, of the same CA, or the issuer of its topmost certificate.
fn is_servers_own(parsed: &ParsedUpload<'_>, client_ca: &Certificate) -> bool {
    let is_same_ca = |given: &GivenCertificate| {
        given.certificate.spki == client_ca.spki
            && given.certificate.normal_subject == client_ca.normal_subject
    };
    let has_issued = |top: &GivenCertificate| {
        top.certificate.may_be_issued_by(client_ca)
            && top.certificate.signed_by(client_ca) == SignatureVerdict::Valid
    };
    client_ca.may_issue_or_is_version1_root()
        && (parsed.chain().any(is_same_ca) || parsed.chain().last().is_some_and(has_issued))
}

/// The names go into every CertificateRequest.
const NAMES_BYTES_MAX: usize = 32 * 1024;

pub(crate) fn names_too_large(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let bytes: usize = parsed.trusted_client_cas().map(|given| given.certificate.subject_der.len()).sum();
    if bytes > NAMES_BYTES_MAX {
        let message = format!(
            "The names of the client CAs have {bytes} bytes together; {NAMES_BYTES_MAX} are allowed."
        );
        findings.push(Finding::new(Code::ClientCaNamesTooLarge, Field::Cacert, None, message));
    }
}

use rustls_pki_types::CertificateDer;

use crate::Code;
use crate::as_of::ends_soon;
use crate::certificate::Certificate;
use crate::chain::GivenCertificate;
use crate::display::shown_time;
use crate::finding::{Field, Finding};
use crate::normal_form::without_critical_policies;
use crate::parsed_upload::ParsedUpload;

fn say(leaf: &GivenCertificate, code: Code, message: impl Into<String>, findings: &mut Vec<Finding>) {
    findings.push(Finding::new(code, Field::Cert, leaf.item(), message));
}

/// What webpki cannot read, the gateway cannot serve. Version and critical extensions have their
/// own rules.
pub(crate) fn unreadable_for_tls_clients(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    let readable = without_critical_policies(&leaf.certificate.der);
    let der: &CertificateDer<'static> = readable.as_ref().unwrap_or(&leaf.certificate.der);
    match webpki::EndEntityCert::try_from(der) {
        Ok(_) | Err(webpki::Error::UnsupportedCertVersion | webpki::Error::UnsupportedCriticalExtension) => {}
        Err(error) => {
            let message = format!("Strict TLS clients cannot read the leaf ({error}).");
            say(leaf, Code::CertUnreadable, message, findings);
        }
    }
}

pub(crate) fn precertificate(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| leaf.certificate.is_precertificate) else { return };
    say(
        leaf,
        Code::Precertificate,
        "The leaf is a precertificate, made for certificate logs only.",
        findings,
    );
}

pub(crate) fn version1(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| leaf.certificate.version != 3) else { return };
    let message =
        format!("The leaf is of X.509 version {}; TLS clients want version 3.", leaf.certificate.version);
    say(leaf, Code::LeafVersion1, message, findings);
}

/// OpenSSL clients accept the self-signed CAs of `openssl req -x509`.
pub(crate) fn is_ca(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| leaf.certificate.is_ca) else { return };
    let signs = leaf.certificate.key_usage.is_none_or(|usage| usage.digital_signature);
    if leaf.certificate.is_self_signed() && signs {
        let message = "The leaf is a self-signed CA certificate; strict clients refuse it.";
        say(leaf, Code::SelfSignedCaLeaf, message, findings);
    } else {
        let message = "The leaf is a CA certificate (CA:TRUE); it cannot be a server's.";
        say(leaf, Code::LeafIsCa, message, findings);
    }
}

pub(crate) fn not_for_servers(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| !leaf.certificate.is_for_servers()) else { return };
    let message = match leaf.certificate.extended_key_usage.is_some_and(|usage| usage.client) {
        true => "The leaf is a client's certificate (extended key usage clientAuth without serverAuth).",
        false => "The leaf's extended key usage does not hold serverAuth.",
    };
    say(leaf, Code::LeafNotForServers, message, findings);
}

pub(crate) fn validity_reversed(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| is_reversed(&leaf.certificate)) else { return };
    let (from, to) = (shown_time(leaf.certificate.not_before), shown_time(leaf.certificate.not_after));
    say(leaf, Code::ValidityReversed, format!("The leaf is valid from {from} until {to}: never."), findings);
}

pub(crate) fn expired(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| !is_reversed(&leaf.certificate)) else { return };
    if parsed.circumstances.now > leaf.certificate.not_after {
        let message = format!("The leaf expired at {}.", shown_time(leaf.certificate.not_after));
        say(leaf, Code::LeafExpired, message, findings);
    }
}

pub(crate) fn not_yet_valid(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| !is_reversed(&leaf.certificate)) else { return };
    if parsed.circumstances.now < leaf.certificate.not_before {
        let message = format!("The leaf is not valid before {}.", shown_time(leaf.certificate.not_before));
        say(leaf, Code::LeafNotYetValid, message, findings);
    }
}

pub(crate) fn expires_soon(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| leaf.certificate.is_valid_at(parsed.circumstances.now))
    else {
        return;
    };
    if ends_soon(&leaf.certificate, parsed.circumstances.now) {
        let message = format!("The leaf expires at {}.", shown_time(leaf.certificate.not_after));
        say(leaf, Code::ExpiresSoon, message, findings);
    }
}

pub(crate) fn key_usage_unfit(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| !leaf.certificate.is_ca) else { return };
    if leaf.certificate.key_usage.is_some_and(|usage| !usage.digital_signature) {
        let message = "The leaf's key usage lacks digitalSignature; clients of TLS 1.3 may refuse it.";
        say(leaf, Code::KeyUsageUnfit, message, findings);
    }
}

pub(crate) fn must_staple(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| leaf.certificate.must_staple) else { return };
    say(leaf, Code::MustStaple, "The leaf demands OCSP stapling, which is not done.", findings);
}

fn is_reversed(certificate: &Certificate) -> bool {
    certificate.not_after < certificate.not_before
}

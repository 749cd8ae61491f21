use crate::Code;
use crate::chain::GivenCertificate;
use crate::finding::{Field, Finding};
use crate::parsed_upload::ParsedUpload;

/// OpenSSL clients cannot read these certificates, nor a CertificateRequest with such a name; off
/// the path too, for clients that build another chain.
pub(crate) fn undecodable_name(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    for (field, given) in [(Field::Cert, &parsed.certificates), (Field::Cacert, &parsed.client_cas)] {
        findings.extend(given.iter().filter_map(|given| fault(given, field)));
    }
}

fn fault(given: &GivenCertificate, field: Field) -> Option<Finding> {
    let (name, fault) = match (given.certificate.subject_fault, given.certificate.issuer_fault) {
        (Some(fault), None) => ("subject", fault),
        (None, Some(fault)) => ("issuer", fault),
        (Some(fault), Some(_)) => ("subject and issuer", fault),
        (None, None) => return None,
    };
    let message = format!(
        "In block {} of {}, {name} cannot be decoded: there is {fault}. OpenSSL cannot read the certificate.",
        given.index,
        field.name()
    );
    Some(Finding::new(Code::NameUndecodable, field, given.item(), message))
}

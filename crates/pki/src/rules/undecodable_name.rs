use crate::Code;
use crate::case::Case;
use crate::chain::Given;
use crate::finding::{Field, Finding};

/// OpenSSL clients cannot read these certificates, nor a CertificateRequest with such a name; off
/// the path too, for clients that build another chain.
pub(crate) fn undecodable_name(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (field, given) in [(Field::Cert, &case.certificates), (Field::Cacert, &case.client_cas)] {
        findings.extend(given.iter().filter_map(|given| fault(given, field)));
    }
}

fn fault(given: &Given, field: Field) -> Option<Finding> {
    let (whose, fault) = match (given.certificate.subject_fault, given.certificate.issuer_fault) {
        (Some(fault), None) => ("subject", fault),
        (None, Some(fault)) => ("issuer", fault),
        (Some(fault), Some(_)) => ("subject and issuer", fault),
        (None, None) => return None,
    };
    let message = format!(
        "In block {} of {}, {whose} cannot be decoded: there is {fault}. OpenSSL cannot read the certificate.",
        given.index,
        field.name()
    );
    Some(Finding::new(Code::NameUndecodable, field, given.item(), message))
}

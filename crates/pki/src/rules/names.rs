use std::collections::HashSet;

use crate::case::Case;
use crate::display::{SUBJECT_CHARS_MAX, escape};
use crate::finding::{Field, Finding};
use crate::{Code, HostName};

pub(crate) fn no_way_in(case: &Case<'_>, findings: &mut Vec<Finding>) {
    if !case.circumstances.has_way_in {
        let message = "The deployment has neither a host nor a listener of its own; no device can reach it.";
        findings.push(Finding::new(Code::NoWayIn, Field::Cert, None, message));
    }
}

/// So many uncovered hosts are named one by one.
const HOSTS_NAMED_MAX: usize = 10;

pub(crate) fn host_not_covered(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = case.leaf() else { return };
    let names = names_in_force(case);
    let is_covered = |host: &HostName| {
        names.contains(host) || host.covering_wildcard().is_some_and(|wildcard| names.contains(&wildcard))
    };
    let uncovered: Vec<&HostName> =
        case.circumstances.hosts.iter().filter(|host| !is_covered(host)).collect();
    for host in uncovered.iter().take(HOSTS_NAMED_MAX) {
        let message = format!("The host {host} is not covered by the names in the certificate.");
        findings.push(Finding::new(Code::HostNotCovered, Field::Cert, leaf.item(), message));
    }
    if uncovered.len() > HOSTS_NAMED_MAX {
        let more = uncovered.len() - HOSTS_NAMED_MAX;
        let message = format!("{more} more hosts are not covered by the names in the certificate.");
        findings.push(Finding::new(Code::HostNotCovered, Field::Cert, leaf.item(), message));
    }
}

pub(crate) fn only_in_common_name(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = case.leaf().filter(|leaf| !leaf.certificate.has_alt_names) else { return };
    let message = match &leaf.certificate.common_name {
        Some(name) => format!(
            "The leaf is named by its common name only ({}); modern clients ignore that.",
            escape(name, SUBJECT_CHARS_MAX)
        ),
        None => "The leaf has no name that a client could compare with a host.".to_owned(),
    };
    findings.push(Finding::new(Code::NameOnlyInCn, Field::Cert, leaf.item(), message));
}

/// `*` and `*.com`; a wildcard needs two labels behind it.
pub(crate) fn wildcard_wide(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = case.leaf() else { return };
    let is_wide = |name: &&String| {
        let rest = name.strip_prefix('*').map(|rest| rest.trim_matches('.'));
        rest.is_some_and(|rest| !rest.contains('.'))
    };
    if let Some(name) = leaf.certificate.dns_names.iter().find(is_wide) {
        let message =
            format!("The name {} covers a whole top-level domain.", escape(name, SUBJECT_CHARS_MAX));
        findings.push(Finding::new(Code::WildcardWide, Field::Cert, leaf.item(), message));
    }
}

/// The DNS names; the common name only where there is no subjectAltName (RFC 9525 §6.3, and OpenSSL clients).
fn names_in_force(case: &Case<'_>) -> HashSet<HostName> {
    let Some(leaf) = case.leaf() else { return HashSet::new() };
    let common_name = leaf.certificate.common_name.iter().filter(|_| !leaf.certificate.has_alt_names);
    leaf.certificate
        .dns_names
        .iter()
        .chain(common_name)
        .filter_map(|name| HostName::parse(name).ok())
        .collect()
}

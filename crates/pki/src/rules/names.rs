use std::collections::HashSet;

use crate::certificate::Certificate;
use crate::display::{SUBJECT_CHARS_MAX, escape};
use crate::finding::{Field, Finding};
use crate::parsed_upload::ParsedUpload;
use crate::{Code, HostName, HostNameError};

pub(crate) fn no_entry_point(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    if let Err(reason) = parsed.circumstances.entry_point {
        let message = format!("No device can reach the deployment through this node: {reason}.");
        let finding = Finding::new(Code::NoWayIn, Field::Cert, None, message);
        findings.push(Finding { remedy: reason.remedy().to_owned(), ..finding });
    }
}

/// The hosts that no name of the leaf covers. `None` if it is not an X.509 certificate.
pub fn uncovered_hosts<'a>(leaf: &[u8], hosts: &'a [HostName]) -> Option<Vec<&'a HostName>> {
    Some(uncovered(&Certificate::read(leaf).ok()?, hosts))
}

fn uncovered<'a>(leaf: &Certificate, hosts: &'a [HostName]) -> Vec<&'a HostName> {
    let names = names_in_force(leaf);
    hosts.iter().filter(|host| !covers(&names, host)).collect()
}

pub(crate) fn covers(names: &HashSet<HostName>, host: &HostName) -> bool {
    names.contains(host) || host.covering_wildcard().is_some_and(|wildcard| names.contains(&wildcard))
}

/// More are only counted.
const HOSTS_NAMED_MAX: usize = 10;

pub(crate) fn host_not_covered(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    let uncovered = uncovered(&leaf.certificate, parsed.circumstances.hosts);
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

pub(crate) fn only_in_common_name(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf().filter(|leaf| leaf.certificate.dns_names.is_empty()) else { return };
    let Some(name) = &leaf.certificate.common_name else { return };
    // Devices that connect by address need no name.
    if !leaf.certificate.ip_addresses.is_empty() && parsed.circumstances.hosts.is_empty() {
        return;
    }
    let name = escape(name, SUBJECT_CHARS_MAX);
    let message = format!("The leaf is named by its common name only ({name}); modern clients ignore that.");
    findings.push(Finding::new(Code::NameOnlyInCn, Field::Cert, leaf.item(), message));
}

pub(crate) fn missing(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    let Certificate { dns_names, ip_addresses, common_name, .. } = &leaf.certificate;
    if dns_names.is_empty() && ip_addresses.is_empty() && common_name.is_none() {
        let message = "The leaf has no name and no address that a client could compare with its broker's.";
        findings.push(Finding::new(Code::NameMissing, Field::Cert, leaf.item(), message));
    }
}

/// `*` and `*.com`; a wildcard needs two labels behind it.
pub(crate) fn wildcard_wide(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    if let Some(name) = leaf.certificate.dns_names.iter().find(|name| is_wide(name)) {
        let message =
            format!("The name {} covers a whole top-level domain.", escape(name, SUBJECT_CHARS_MAX));
        findings.push(Finding::new(Code::WildcardWide, Field::Cert, leaf.item(), message));
    }
}

/// Per fault.
const NAMES_SHOWN_MAX: usize = 3;

pub(crate) fn unusable(parsed: &ParsedUpload<'_>, findings: &mut Vec<Finding>) {
    let Some(leaf) = parsed.leaf() else { return };
    for code in [Code::NameUnusable, Code::NameIsAddress, Code::WildcardOdd] {
        let mut names = leaf.certificate.dns_names.iter().filter_map(|name| match fault(name) {
            Some((of, why)) if of == code => Some((name, why)),
            _ => None,
        });
        let shown: Vec<String> = names
            .by_ref()
            .take(NAMES_SHOWN_MAX)
            .map(|(name, why)| format!("{} ({why})", escape(name, SUBJECT_CHARS_MAX)))
            .collect();
        if shown.is_empty() {
            continue;
        }
        let more = match names.count() {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        let message = format!("Clients cannot use these names of the leaf: {}{more}.", shown.join(", "));
        findings.push(Finding::new(code, Field::Cert, leaf.item(), message));
    }
    let wrong =
        leaf.certificate.ip_addresses.iter().filter(|address| !matches!(address.len(), 4 | 16)).count();
    if wrong > 0 {
        let message = format!("{wrong} IP addresses of the leaf have neither 4 nor 16 bytes.");
        findings.push(Finding::new(Code::NameUnusable, Field::Cert, leaf.item(), message));
    }
}

/// Too wide wildcards have their own rule.
fn fault(name: &str) -> Option<(Code, String)> {
    if is_wide(name) {
        return None;
    }
    match HostName::parse(name) {
        // Operators may write a trailing dot, certificates may not (RFC 5280 §4.2.1.6).
        Ok(_) if name.ends_with('.') => Some((Code::NameUnusable, "it ends with a dot".to_owned())),
        Ok(_) => None,
        Err(error @ HostNameError::IpAddress) => Some((Code::NameIsAddress, error.to_string())),
        Err(error @ HostNameError::Wildcard) => Some((Code::WildcardOdd, error.to_string())),
        Err(error) => Some((Code::NameUnusable, error.to_string())),
    }
}

fn is_wide(name: &str) -> bool {
    name.strip_prefix('*').is_some_and(|rest| !rest.trim_matches('.').contains('.') && !rest.contains('*'))
        && (name.len() == 1 || name.starts_with("*."))
}

/// The common name only without DNS names, as in OpenSSL (never in RFC 9525 §6.3).
pub(crate) fn names_in_force(leaf: &Certificate) -> HashSet<HostName> {
    let common_name = leaf.common_name.iter().filter(|_| leaf.dns_names.is_empty());
    leaf.dns_names
        .iter()
        .chain(common_name)
        .filter(|name| fault(name).is_none())
        .filter_map(|name| HostName::parse(name).ok())
        .collect()
}

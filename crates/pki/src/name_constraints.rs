use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints as Extension};

use crate::display::{SUBJECT_CHARS_MAX, escape};

/// DNS and IP name constraints (RFC 5280 §4.2.1.10): devices ask for no others.
#[derive(Clone, Debug)]
pub(crate) struct NameConstraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

#[derive(Clone, Debug)]
enum Subtree {
    /// Lower case; a leading dot requires one more label.
    Dns(String),
    /// Address and mask, 4 or 16 bytes each.
    Ip(Vec<u8>),
}

/// webpki's bound on a product of two lengths.
const COMPARISONS_MAX: usize = 250_000;

impl NameConstraints {
    pub(crate) fn read(extension: &Extension<'_>) -> Self {
        let subtrees = |list: &Option<Vec<GeneralSubtree<'_>>>| {
            list.iter().flatten().filter_map(|subtree| Subtree::read(&subtree.base)).collect()
        };
        Self {
            permitted: subtrees(&extension.permitted_subtrees),
            excluded: subtrees(&extension.excluded_subtrees),
        }
    }

    pub(crate) fn refusal(&self, dns_names: &[String], ip_addresses: &[Vec<u8>]) -> Option<String> {
        let names = dns_names.len() + ip_addresses.len();
        if names.saturating_mul(self.permitted.len() + self.excluded.len()) > COMPARISONS_MAX {
            return Some("more names and constraints than clients compare".to_owned());
        }
        let dns = dns_names.iter().find(|name| !self.allows_dns(name));
        let ip = || ip_addresses.iter().find(|address| !self.allows_ip(address));
        dns.map(|name| escape(name, SUBJECT_CHARS_MAX)).or_else(|| ip().map(|address| shown_address(address)))
    }

    fn allows_dns(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.allows(|subtree| match subtree {
            Subtree::Dns(base) => Some(is_under(&name, base)),
            Subtree::Ip(_) => None,
        })
    }

    fn allows_ip(&self, address: &[u8]) -> bool {
        self.allows(|subtree| match subtree {
            Subtree::Dns(_) => None,
            Subtree::Ip(base) => Some(is_within(address, base)),
        })
    }

    /// In no excluded subtree, and in a permitted one of its form, if any.
    fn allows(&self, is_in: impl Fn(&Subtree) -> Option<bool>) -> bool {
        let mut permitted = self.permitted.iter().filter_map(&is_in).peekable();
        !self.excluded.iter().filter_map(&is_in).any(|is_in| is_in)
            && (permitted.peek().is_none() || permitted.any(|is_in| is_in))
    }
}

impl Subtree {
    fn read(base: &GeneralName<'_>) -> Option<Self> {
        match base {
            GeneralName::DNSName(name) => Some(Self::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => Some(Self::Ip(bytes.to_vec())),
            _ => None,
        }
    }
}

fn is_under(name: &str, base: &str) -> bool {
    match name.strip_suffix(base) {
        None => false,
        Some(front) => front.is_empty() || base.is_empty() || base.starts_with('.') || front.ends_with('.'),
    }
}

fn is_within(address: &[u8], base: &[u8]) -> bool {
    let (network, mask) = base.split_at(base.len() / 2);
    address.len() == network.len()
        && network.len() == mask.len()
        && address.iter().zip(network).zip(mask).all(|((a, n), m)| a & m == n & m)
}

pub(crate) fn shown_address(bytes: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Ipv4Addr::from(bytes).to_string();
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) => Ipv6Addr::from(bytes).to_string(),
        Err(_) => format!("an address of {} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_under_itself_and_its_parents() {
        for (name, base, under) in [
            ("a.example.com", "example.com", true),
            ("example.com", "example.com", true),
            ("*.example.com", "example.com", true),
            ("badexample.com", "example.com", false),
            ("a.example.com", ".example.com", true),
            ("example.com", ".example.com", false),
            ("a.example.org", "example.com", false),
            ("anything", "", true),
        ] {
            assert_eq!(is_under(name, base), under, "{name} under {base}");
        }
    }

    #[test]
    fn an_address_is_within_its_network() {
        let network = [192, 0, 2, 0, 255, 255, 255, 0];
        assert!(is_within(&[192, 0, 2, 7], &network));
        assert!(!is_within(&[192, 0, 3, 7], &network));
        assert!(!is_within(&[0; 16], &network));
        assert!(!is_within(&[192, 0, 2, 7], &network[..7]));
        assert!(!is_within(&[192, 0, 2, 7], &[]));
    }
}

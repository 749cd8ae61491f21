use std::fmt;
use std::net::Ipv6Addr;

use serde::Serialize;
use thiserror::Error;

/// A DNS name or one-label wildcard that selects a deployment by SNI.
///
/// A-labels of letters, digits, `-` and `_`; lower case, no trailing dot; at most 253 characters.
/// Single labels are allowed, IP addresses are not (RFC 6066 §3). `*` must be the whole first
/// label, over at least two more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HostName(Box<str>);

/// Why a text is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostNameError {
    /// Empty.
    #[error("it is empty")]
    Empty,
    /// Over 253 characters.
    #[error("it is longer than 253 characters")]
    TooLong,
    /// A label is empty or over 63 characters.
    #[error("a label is empty or longer than 63 characters")]
    Label,
    /// Not a letter, digit, `-`, `_` or `.`.
    #[error(
        "only letters, digits, '-', '_' and '.' are allowed (write an international name in its xn-- form)"
    )]
    Character,
    /// A label begins or ends with `-`.
    #[error("a label begins or ends with '-'")]
    Hyphen,
    /// An IP address.
    #[error("it is an IP address, and TLS selects only by name")]
    IpAddress,
    /// A misplaced `*`.
    #[error("'*' may only be the whole first label, over at least two more")]
    Wildcard,
}

impl HostName {
    /// Parses a name; upper case and a trailing dot are allowed.
    ///
    /// # Errors
    /// The broken rule.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostNameError::Empty);
        }
        if text.len() > 253 {
            return Err(HostNameError::TooLong);
        }
        if is_ip_address(text) {
            return Err(HostNameError::IpAddress);
        }
        let name = match text.strip_prefix("*.") {
            Some(rest) if rest.contains('.') => rest,
            Some(_) => return Err(HostNameError::Wildcard),
            None => text,
        };
        if name.contains('*') {
            return Err(HostNameError::Wildcard);
        }
        name.split('.').try_for_each(check_label)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// All but the first label, if there are several.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The wildcard over this name; `None` for a wildcard, or fewer than three labels.
    pub fn covering_wildcard(&self) -> Option<HostName> {
        let parent = self.parent().filter(|parent| !self.is_wildcard() && parent.contains('.'))?;
        Some(Self(format!("*.{parent}").into()))
    }

    /// Equal to `other`, or a wildcard over its first label.
    pub fn covers(&self, other: &HostName) -> bool {
        self == other || (self.is_wildcard() && other.covering_wildcard().as_ref() == Some(self))
    }

    /// A covered name: `label` replaces `*`.
    pub fn example(&self, label: &str) -> String {
        match self.0.strip_prefix("*.") {
            Some(rest) => format!("{label}.{rest}"),
            None => self.0.to_string(),
        }
    }
}

fn check_label(label: &str) -> Result<(), HostNameError> {
    if label.is_empty() || label.len() > 63 {
        return Err(HostNameError::Label);
    }
    if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(HostNameError::Character);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostNameError::Hyphen);
    }
    Ok(())
}

/// IPv6 texts, and names with a numeric last label: they are read as IPv4 (WHATWG URL, "ends in a
/// number").
fn is_ip_address(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    text.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok()
        || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_that_a_device_can_ask_for() {
        for (text, expected) in [
            ("broker.example.com", Ok("broker.example.com")),
            ("Broker.EXAMPLE.com.", Ok("broker.example.com")),
            ("localhost", Ok("localhost")),
            ("_mqtt.x-1.example", Ok("_mqtt.x-1.example")),
            ("xn--mller-kva.example", Ok("xn--mller-kva.example")),
            ("*.example.com", Ok("*.example.com")),
            ("1.example", Ok("1.example")),
            ("", Err(HostNameError::Empty)),
            (".", Err(HostNameError::Empty)),
            ("a..b", Err(HostNameError::Label)),
            ("a.b..", Err(HostNameError::Label)),
            (".a", Err(HostNameError::Label)),
            ("müller.example", Err(HostNameError::Character)),
            ("a b.example", Err(HostNameError::Character)),
            ("a\0.example", Err(HostNameError::Character)),
            ("-a.example", Err(HostNameError::Hyphen)),
            ("a-.example", Err(HostNameError::Hyphen)),
            ("192.0.2.1", Err(HostNameError::IpAddress)),
            ("2001:db8::1", Err(HostNameError::IpAddress)),
            ("[::1]", Err(HostNameError::IpAddress)),
            ("broker:8883", Err(HostNameError::Character)),
            ("example.1", Err(HostNameError::IpAddress)),
            ("*", Err(HostNameError::Wildcard)),
            ("*.com", Err(HostNameError::Wildcard)),
            ("a.*.example.com", Err(HostNameError::Wildcard)),
            ("a*.example.com", Err(HostNameError::Wildcard)),
            ("*.*.example.com", Err(HostNameError::Wildcard)),
        ] {
            assert_eq!(
                HostName::parse(text).as_ref().map(HostName::as_str).map_err(|e| *e),
                expected,
                "{text:?}"
            );
        }
        let long = |labels: usize| vec!["a".repeat(49); labels].join(".");
        assert!(HostName::parse(&long(5)).is_ok());
        assert_eq!(HostName::parse(&long(6)), Err(HostNameError::TooLong));
        assert_eq!(HostName::parse(&"a".repeat(64)), Err(HostNameError::Label));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        for (name, other, covers) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", "*.a.example.com", false),
            ("a.example.com", "*.example.com", false),
            ("a.example.com", "a.example.com", true),
        ] {
            let [name, other] = [name, other].map(|text| HostName::parse(text).unwrap());
            assert_eq!(name.covers(&other), covers, "{name} over {other}");
        }
    }
}

use std::fmt;

use certward_pki::{HostName, HostNameError};
use thiserror::Error;

/// A name reserved for one project, with every name under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostSuffix(HostName);

/// Why a text is no suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostSuffixError {
    /// Not a host name.
    #[error(transparent)]
    Name(#[from] HostNameError),
    /// A wildcard.
    #[error("it must not be a wildcard; a suffix covers all names under it")]
    Wildcard,
}

impl HostSuffix {
    /// Suffixes per project.
    pub const MAX: usize = 100;

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, HostSuffixError> {
        let name = HostName::parse(text)?;
        if name.is_wildcard() { Err(HostSuffixError::Wildcard) } else { Ok(Self(name)) }
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn parent(&self) -> Option<&str> {
        self.0.parent()
    }

    /// Whether the host is this name or under it.
    pub fn covers(&self, host: &HostName) -> bool {
        ancestors(host).any(|ancestor| ancestor == self.as_str())
    }

    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &str> {
        ancestors(&self.0)
    }
}

/// All suffixes that would cover this host, longest first. At most 127.
pub(crate) fn ancestors(host: &HostName) -> impl Iterator<Item = &str> {
    let first = if host.is_wildcard() { host.parent() } else { Some(host.as_str()) };
    std::iter::successors(first, |name| name.split_once('.').map(|(_, above)| above))
}

impl fmt::Display for HostSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_covers_itself_and_all_names_under_it() {
        let suffix = HostSuffix::parse("Example.COM.").unwrap();
        for (host, expected) in [
            ("example.com", true),
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("*.example.com", true),
            ("*.a.example.com", true),
            ("badexample.com", false),
            ("com", false),
            ("example.com.evil.net", false),
            ("example.org", false),
        ] {
            assert_eq!(suffix.covers(&HostName::parse(host).unwrap()), expected, "{host}");
        }
        assert_eq!(HostSuffix::parse("*.example.com"), Err(HostSuffixError::Wildcard));
        assert_eq!(HostSuffix::parse("10.0.0.1"), Err(HostSuffixError::Name(HostNameError::IpAddress)));
        assert!(HostSuffix::parse("local").is_ok());
    }
}

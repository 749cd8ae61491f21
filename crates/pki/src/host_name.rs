use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// A DNS name, or a wildcard over one label, by which a device selects a deployment with SNI.
///
/// A-labels only: letters, digits, `-` and `_`; lower-cased and freed of one trailing dot; at most 253
/// characters; single labels are allowed, an IP address is not (RFC 6066 §3). A wildcard stands only as the whole
/// first label over at least two more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HostName(Box<str>);

/// Why a text is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostNameError {
    /// Nothing is left of it.
    #[error("it is empty")]
    Empty,
    /// Longer than 253 characters.
    #[error("it is longer than 253 characters")]
    TooLong,
    /// A label is empty or longer than 63 characters.
    #[error("a label is empty or longer than 63 characters")]
    Label,
    /// A character other than letters, digits, `-`, `_` and `.`.
    #[error(
        "only letters, digits, '-', '_' and '.' are allowed (write an international name in its xn-- form)"
    )]
    Character,
    /// A label begins or ends with `-`.
    #[error("a label begins or ends with '-'")]
    Hyphen,
    /// It is an IP address.
    #[error("it is an IP address, and TLS selects only by name")]
    IpAddress,
    /// A `*` elsewhere than as the whole first label over at least two more.
    #[error("'*' may only be the whole first label, over at least two more")]
    Wildcard,
}

impl HostName {
    /// Reads a name as an operator writes it.
    ///
    /// # Errors
    /// [`HostNameError`] says which rule it breaks.
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

    /// All but the first label, if there is more than one: what a wildcard beside this name would stand over.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The wildcard that covers this name, if the name is no wildcard itself and has at least three labels.
    pub fn covering_wildcard(&self) -> Option<HostName> {
        let parent = self.parent().filter(|parent| !self.is_wildcard() && parent.contains('.'))?;
        Some(Self(format!("*.{parent}").into()))
    }

    /// Whether a device that asks for `other` would be led here: equal, or a wildcard over its one first label.
    pub fn covers(&self, other: &HostName) -> bool {
        self == other || (self.is_wildcard() && other.covering_wildcard().as_ref() == Some(self))
    }

    /// An exact name that this name covers: itself, or for a wildcard the name with `label` in place of `*`.
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

/// IPv6 texts, dotted quads, and whatever else would be read as an IPv4 address because its last label is a number
/// (WHATWG URL, "ends in a number"): a name of that kind could never be resolved as a name.
fn is_ip_address(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    text.contains(':') || text.starts_with('[') || last.bytes().all(|b| b.is_ascii_digit())
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

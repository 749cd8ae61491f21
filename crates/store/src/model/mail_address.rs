use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `LOCAL@DOMAIN` in ASCII: a dot-atom (RFC 5322 §3.2.3) and a host name. No display name, quoted
/// part, comment or address literal.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailAddress(Box<str>);

/// Why a text is no mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MailAddressError {
    /// Over [`MailAddress::BYTES_MAX`].
    #[error("it must have at most 254 bytes")]
    TooLong,
    /// Not one `@`.
    #[error("it must be NAME@DOMAIN with one @, without a display name")]
    Form,
    /// Before the `@`.
    #[error(
        "the part before the @ must be 1 to 64 letters, digits and signs; a domain in another script is written as xn--"
    )]
    Local,
    /// After the `@`.
    #[error("the part behind the @ must be a domain; one in another script is written as xn--")]
    Domain,
}

/// RFC 5321 §4.5.3.1.1.
const LOCAL_BYTES_MAX: usize = 64;

impl MailAddress {
    /// RFC 5321 §4.5.3.1.3, without the angle brackets.
    pub const BYTES_MAX: usize = 254;

    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, MailAddressError> {
        if text.len() > Self::BYTES_MAX {
            return Err(MailAddressError::TooLong);
        }
        match text.split_once('@') {
            Some((_, domain)) if domain.contains('@') => Err(MailAddressError::Form),
            Some((local, _)) if !is_dot_atom(local) => Err(MailAddressError::Local),
            Some((_, domain)) if !domain.split('.').all(is_label) => Err(MailAddressError::Domain),
            Some(_) => Ok(Self(text.into())),
            None => Err(MailAddressError::Form),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Before and behind the `@`.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('@').unwrap_or((&self.0, ""))
    }
}

fn is_dot_atom(local: &str) -> bool {
    let is_atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    local.len() <= LOCAL_BYTES_MAX
        && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

fn is_label(label: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    matches!(label.len(), 1..=63)
        && label.bytes().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailAddress({})", self.0)
    }
}

impl TryFrom<String> for MailAddress {
    type Error = MailAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<MailAddress> for String {
    fn from(address: MailAddress) -> Self {
        address.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_a_local_part_and_a_domain() {
        use MailAddressError as E;
        let domain = format!("{}.{}.{}.example", "d".repeat(60), "d".repeat(60), "d".repeat(55));
        let longest = format!("{}@{domain}", "l".repeat(64));
        assert!(longest.len() <= 254, "{}", longest.len());
        for (text, expected) in [
            ("ops@example.com", Ok(())),
            ("first.last+certward@mail.example.com", Ok(())),
            ("o'neil@xn--mller-kva.example", Ok(())),
            ("root@localhost", Ok(())),
            (&longest, Ok(())),
            (&format!("l{longest}"), Err(E::Local)),
            (&format!("a@{}example", "d.".repeat(130)), Err(E::TooLong)),
            ("", Err(E::Form)),
            ("ops", Err(E::Form)),
            ("a@b@example.com", Err(E::Form)),
            ("@example.com", Err(E::Local)),
            (".a@example.com", Err(E::Local)),
            ("a..b@example.com", Err(E::Local)),
            ("Ops <ops@example.com>", Err(E::Local)),
            ("<ops@example.com>", Err(E::Local)),
            ("\"a b\"@example.com", Err(E::Local)),
            ("a b@example.com", Err(E::Local)),
            ("müller@example.com", Err(E::Local)),
            ("a@", Err(E::Domain)),
            ("a@example..com", Err(E::Domain)),
            ("a@-example.com", Err(E::Domain)),
            ("a@example.com.", Err(E::Domain)),
            ("a@[192.0.2.1]", Err(E::Domain)),
            ("a@example.com\r\nBcc: b@example.com", Err(E::Form)),
            ("a@example.com\r\nX", Err(E::Domain)),
            ("a,b@example.com", Err(E::Local)),
        ] {
            assert_eq!(MailAddress::parse(text).map(|_| ()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_written_as_it_is_read_again(
            text in prop_oneof![".{0,60}", "[a-z.!+]{1,10}@[a-z0-9.-]{1,20}"]
        ) {
            if let Ok(address) = MailAddress::parse(&text) {
                prop_assert_eq!(address.as_str(), &text);
                let json = serde_json::to_string(&address).unwrap();
                prop_assert_eq!(serde_json::from_str::<MailAddress>(&json).unwrap(), address);
                prop_assert!(text.chars().all(|c| c.is_ascii_graphic()));
            }
        }
    }
}

use std::{fmt, str::FromStr};

/// The name of a login, and of its file: 1 to 63 of `a-z`, `A-Z`, `0-9`, `-`, `_` and `.`, with a
/// letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LoginName(String);

const CHARS_MAX: usize = 63;

impl LoginName {
    /// The one that is used without a name.
    pub(crate) fn default_login() -> Self {
        Self("default".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default_login()
    }
}

impl FromStr for LoginName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= CHARS_MAX && text.chars().all(is_of_name) {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "the name of a login is 1 to 63 of letters, digits, -, _ and ., beginning with a letter or digit",
            )
        }
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        for text in ["default", "a", "Prod-1", "prod.example_2", &"a".repeat(63)] {
            assert_eq!(text.parse::<LoginName>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", "a\n", &"a".repeat(64)] {
            assert!(text.parse::<LoginName>().is_err(), "{text:?}");
        }
        assert!("default".parse::<LoginName>().unwrap().is_default());
    }
}

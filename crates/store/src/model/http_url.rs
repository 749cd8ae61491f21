use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

/// An absolute http or https URL without user info and fragment.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl(Url);

/// Why a text is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HttpUrlError {
    /// Over [`HttpUrl::BYTES_MAX`], as written or normalised.
    #[error("it must have at most 2048 bytes")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("it must be a URL with a host, for example https://host.example/path")]
    Form,
    /// Another scheme.
    #[error("it must begin with https:// or http://")]
    Scheme,
    /// Credentials belong in no URL: it is shown.
    #[error("it must hold no user name or password")]
    UserInfo,
    /// Never sent.
    #[error("it must have no fragment (#)")]
    Fragment,
}

impl HttpUrl {
    /// In bytes: what common receivers and proxies accept in a request line.
    pub const BYTES_MAX: usize = 2048;

    /// Reads and normalises a URL.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        if text.len() > Self::BYTES_MAX {
            return Err(HttpUrlError::TooLong);
        }
        // The URL standard ignores some of them.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(HttpUrlError::Form);
        }
        let url = Url::parse(text).map_err(|_| HttpUrlError::Form)?;
        match url {
            _ if !matches!(url.scheme(), "http" | "https") => Err(HttpUrlError::Scheme),
            _ if url.host_str().is_none_or(str::is_empty) => Err(HttpUrlError::Form),
            _ if !url.username().is_empty() || url.password().is_some() => Err(HttpUrlError::UserInfo),
            _ if url.fragment().is_some() => Err(HttpUrlError::Fragment),
            _ if url.as_str().len() > Self::BYTES_MAX => Err(HttpUrlError::TooLong),
            _ => Ok(Self(url)),
        }
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({})", self.as_str())
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = HttpUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> Self {
        url.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_http_with_a_host_and_nothing_secret() {
        use HttpUrlError as E;
        let long = |bytes: usize| format!("http://h/{}", "a".repeat(bytes - "http://h/".len()));
        let (longest, too_long) = (long(2048), long(2049));
        // A percent sign and two digits for each byte of ä.
        let too_long_when_normalised = format!("http://h/{}", "ä".repeat(400));
        for (text, expected) in [
            ("https://hooks.example/certward?team=a", Ok("https://hooks.example/certward?team=a")),
            ("HTTP://Hooks.Example:80", Ok("http://hooks.example/")),
            ("http://127.1:8080/x", Ok("http://127.0.0.1:8080/x")),
            ("http://[::ffff:127.0.0.1]/", Ok("http://[::ffff:7f00:1]/")),
            (&longest, Ok(longest.as_str())),
            (&too_long, Err(E::TooLong)),
            (&too_long_when_normalised, Err(E::TooLong)),
            ("", Err(E::Form)),
            ("hooks.example/x", Err(E::Form)),
            ("https://", Err(E::Form)),
            (" https://hooks.example/", Err(E::Form)),
            ("https://hooks.example/a\nb", Err(E::Form)),
            ("ftp://hooks.example/", Err(E::Scheme)),
            ("file:///etc/passwd", Err(E::Scheme)),
            ("mailto:a@b.example", Err(E::Scheme)),
            ("https://user@hooks.example/", Err(E::UserInfo)),
            ("https://:secret@hooks.example/", Err(E::UserInfo)),
            ("https://hooks.example/#part", Err(E::Fragment)),
            ("https://hooks.example/#", Err(E::Fragment)),
        ] {
            let read = HttpUrl::parse(text);
            assert_eq!(read.as_ref().map(HttpUrl::as_str).map_err(|error| *error), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_url_is_written_as_it_is_read_again(
            text in prop_oneof![".{0,60}", "https?://[a-zäé0-9.:@\\[\\]%-]{1,20}(/[ -~ä]{0,20})?"]
        ) {
            if let Ok(url) = HttpUrl::parse(&text) {
                prop_assert_eq!(HttpUrl::parse(url.as_str()), Ok(url.clone()));
                let json = serde_json::to_string(&url).unwrap();
                prop_assert_eq!(serde_json::from_str::<HttpUrl>(&json).unwrap(), url);
            }
        }
    }
}

//! Long lists come in pages: `limit`, `after`, and a `Link` to the next page (RFC 8288).

use std::fmt::Write as _;

use axum::extract::Query;
use http::{HeaderMap, HeaderValue, Uri, header};

use crate::{detail::Detail, error::Error, refusal_code::RefusalCode};

pub(crate) const LIMIT_DEFAULT: u32 = 100;
pub(crate) const LIMIT_MAX: u32 = 1_000;
pub(crate) const AFTER_FAULT: &str = "after is none that a Link header has given.";
/// Two numbers, or a number and an id.
const AFTER_BYTES_MAX: usize = 100;

/// A query. Unknown parameters are ignored; one given twice is wrong.
#[derive(Debug)]
pub(crate) struct ListQuery<'a> {
    uri: &'a Uri,
    parameters: Vec<(String, String)>,
}

impl<'a> ListQuery<'a> {
    pub(crate) fn read(uri: &'a Uri) -> Result<Self, Error> {
        let parameters = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(parameters) = parameters.map_err(|_| wrong("query", "The query is not readable."))?;
        Ok(Self { uri, parameters })
    }

    pub(crate) fn limit(&self) -> Result<u32, Error> {
        let read = |text: &str| {
            let number = Some(text).filter(|text| is_number(text))?.parse().ok();
            number.filter(|limit| (1..=LIMIT_MAX).contains(limit))
        };
        Ok(self
            .parameter("limit", "limit is no whole number from 1 to 1000.", read)?
            .unwrap_or(LIMIT_DEFAULT))
    }

    /// Two parts, as [`ListQuery::next`] wrote them.
    pub(crate) fn after<A, B>(
        &self,
        first: impl FnOnce(&str) -> Option<A>,
        second: impl FnOnce(&str) -> Option<B>,
    ) -> Result<Option<(A, B)>, Error> {
        self.parameter("after", AFTER_FAULT, |text| {
            let is_written = text.len() <= AFTER_BYTES_MAX && !text.contains('+');
            let (a, b) = Some(text).filter(|_| is_written)?.split_once('.')?;
            Some((first(a)?, second(b)?))
        })
    }

    pub(crate) fn parameter<T>(
        &self,
        name: &str,
        fault: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut given = self.values(name);
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some(text), None) => read(text).map(Some).ok_or_else(|| wrong(name, fault)),
            (Some(_), Some(_)) => Err(wrong(name, &format!("{name} is given twice."))),
        }
    }

    /// As they are given.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Whether no other parameter is given.
    pub(crate) fn has_only(&self, name: &str) -> bool {
        self.parameters.iter().all(|(given, _)| given == name)
    }

    /// The `Link` header to the page after `last`.
    pub(crate) fn next(&self, last: (impl ToString, impl ToString)) -> HeaderMap {
        self.next_after(&format!("{}.{}", last.0.to_string(), last.1.to_string()))
    }

    /// As [`ListQuery::next`], where one id says where the page ends.
    pub(crate) fn next_after(&self, last: &str) -> HeaderMap {
        let mut path = format!("<{}?", self.uri.path());
        for (name, value) in self.parameters.iter().filter(|(name, _)| name != "after") {
            // The names of ours are plain; others are left out.
            if name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                path.push_str(&format!("{name}={}&", encoded(value)));
            }
        }
        let link = format!("{path}after={last}>; rel=\"next\"");
        HeaderValue::from_str(&link).map(|link| (header::LINK, link)).into_iter().collect()
    }
}

/// Rust also reads a plus sign.
pub(crate) fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Percent-encoded (RFC 3986 §2.1), such as a time's space.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b':' => text.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            // Writing to a String cannot fail.
            byte => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

pub(crate) fn wrong(parameter: &str, message: &str) -> Error {
    let remedy = "`certward openapi` has the parameters of each path, for example within=30d and limit=100.";
    Error::Unprocessable(vec![Detail::property(RefusalCode::QueryInvalid, parameter, message, remedy)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_the_next_with_the_same_parameters() {
        let uri: Uri =
            "/public_api/v1/expiring?within=30d&limit=2&after=5.6&o-d=1&since=2034-05-12%2002:43:21%22%3E"
                .parse()
                .unwrap();
        let query = ListQuery::read(&uri).unwrap();
        assert_eq!(query.limit().unwrap(), 2);
        let number = |text: &str| text.parse::<i64>().ok();
        assert_eq!(query.after(number, number).unwrap(), Some((5, 6)));
        let link = &query.next((70, 8))[header::LINK];
        assert_eq!(
            link,
            "</public_api/v1/expiring?within=30d&limit=2&since=2034-05-12%2002:43:21%22%3E&after=70.8>; rel=\"next\""
        );
    }

    #[test]
    fn a_wrong_parameter_is_refused() {
        for query in ["limit=0", "limit=1001", "limit=x", "limit=", "limit=%2B5", "limit=1&limit=2"] {
            let uri: Uri = format!("/a?{query}").parse().unwrap();
            assert!(ListQuery::read(&uri).unwrap().limit().is_err(), "{query}");
        }
        let number = |text: &str| text.parse::<i64>().ok();
        for query in ["after=1".to_owned(), "after=%2B1.2".to_owned(), format!("after={}.1", "0".repeat(100))]
        {
            let uri: Uri = format!("/a?{query}").parse().unwrap();
            assert!(ListQuery::read(&uri).unwrap().after(number, number).is_err(), "{query}");
        }
    }
}

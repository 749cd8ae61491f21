//! Parses one JSON object, no field twice.
//!
//! Errors give the position, never the content, which may be a key. serde_json's messages are used
//! only for syntax errors, where they are fixed; others may quote input.

use std::{collections::HashSet, fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use crate::error::Error;

const DUPLICATE_FIELD: &str = "a field is given twice";

/// Built field by field; unknown fields are ignored.
pub(crate) trait FromFields: Default {
    /// Takes the value of a known `name`; else returns `false`.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

pub(crate) fn object<T: FromFields>(bytes: &[u8]) -> Result<T, Error> {
    // serde_json checks only returned strings; all of JSON is UTF-8 (RFC 8259 §8.1).
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    serde_json::from_str::<Object<T>>(text).map(|object| object.0).map_err(|error| refusal(&error))
}

fn not_utf8(bytes: &[u8], at: usize) -> Error {
    let before = &bytes[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Error::InvalidJson(format!("The body is not UTF-8 at line {line} column {column}."))
}

fn refusal(error: &serde_json::Error) -> Error {
    let place = format!("line {} column {}", error.line(), error.column());
    let message = match error.classify() {
        // "expected `,` or `}` at line 1 column 9"
        Category::Syntax | Category::Eof => format!("The body is not valid JSON: {error}."),
        // The rest may be input.
        Category::Data if error.to_string().starts_with(DUPLICATE_FIELD) => {
            format!("The body is not usable: {DUPLICATE_FIELD}, the second time at {place}.")
        }
        Category::Data | Category::Io => format!("The body must be a JSON object ({place})."),
    };
    Error::InvalidJson(message)
}

struct Object<T>(T);

impl<'de, T: FromFields> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Object)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: FromFields> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut fields = T::default();
        // Unknown fields too: acceptance does not depend on known names. Bounded by the body.
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(serde::de::Error::custom(DUPLICATE_FIELD));
            }
            if !fields.take(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
            seen.insert(name);
        }
        Ok(fields)
    }
}

/// All fields, for resources without secrets.
#[derive(Debug, Default)]
pub(crate) struct Fields(std::collections::BTreeMap<String, serde_json::Value>);

impl Fields {
    /// Null included.
    pub(crate) fn get(&self, name: &str) -> Option<&serde_json::Value> {
        self.0.get(name)
    }
}

impl FromFields for Fields {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        self.0.insert(name.to_owned(), map.next_value()?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: impl AsRef<[u8]>) -> String {
        match object::<Fields>(body.as_ref()) {
            Err(Error::InvalidJson(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_says_where_and_never_what() {
        for (body, expected) in [
            ("", "The body is not valid JSON: EOF while parsing a value at line 1 column 0."),
            ("{\n \"a\": SECRET}", "The body is not valid JSON: expected value at line 2 column 7."),
            (
                r#"{"a": "SECRET},"b":1"#,
                "The body is not valid JSON: expected `,` or `}` at line 1 column 17.",
            ),
            (
                r#"{"a": "SECRET"#,
                "The body is not valid JSON: EOF while parsing a string at line 1 column 13.",
            ),
            (r#"{"a":1} SECRET"#, "The body is not valid JSON: trailing characters at line 1 column 9."),
            (r#""SECRET""#, "The body must be a JSON object (line 1 column 8)."),
            ("null", "The body must be a JSON object (line 1 column 4)."),
            ("[]", "The body must be a JSON object (line 1 column 0)."),
            (
                r#"{"SECRET":1,"SECRET":2}"#,
                "The body is not usable: a field is given twice, the second time at line 1 column 20.",
            ),
            (
                r#"{"a":"\ud800"}"#,
                "The body is not valid JSON: unexpected end of hex escape at line 1 column 13.",
            ),
            (
                r#"{"a":"\ud800A"}"#,
                "The body is not valid JSON: unexpected end of hex escape at line 1 column 13.",
            ),
        ] {
            assert_eq!(message(body), expected, "{body}");
        }
        assert_eq!(message(b"{\n\"a\":\"\xff\"}"), "The body is not UTF-8 at line 2 column 6.");
    }

    #[test]
    fn nesting_is_bounded_and_an_unknown_field_may_hold_anything() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(message(&deep).contains("recursion limit exceeded"));
    }
}

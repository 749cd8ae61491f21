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
    serde_json::from_str::<Object<T>>(text).map(|object| object.0).map_err(|error| refusal(&error, text))
}

fn not_utf8(bytes: &[u8], at: usize) -> Error {
    let before = &bytes[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Error::InvalidJson(format!("The body is not UTF-8 at line {line} column {column}."))
}

fn refusal(error: &serde_json::Error, text: &str) -> Error {
    let place = format!("line {} column {}", error.line(), error.column());
    let message = match error.classify() {
        // "expected `,` or `}` at line 1 column 9"
        Category::Syntax | Category::Eof => {
            let hint = hint(error, text).map_or_else(String::new, |hint| format!("; {hint}"));
            format!("The body is not valid JSON: {error}{hint}.")
        }
        // The rest may be input.
        Category::Data if error.to_string().starts_with(DUPLICATE_FIELD) => {
            format!("The body is not usable: {DUPLICATE_FIELD}, the second time at {place}.")
        }
        Category::Data | Category::Io => format!("The body must be a JSON object ({place})."),
    };
    Error::InvalidJson(message)
}

/// Of the mistakes that PEM invites.
fn hint(error: &serde_json::Error, text: &str) -> Option<String> {
    if error.to_string().starts_with("control character") {
        return Some(r"in a text, a line break is written \n".to_owned());
    }
    let label = PEM_LABELS.into_iter().find(|label| lacks_quote(text, label))?;
    Some(format!("a quote is missing after -----END {label}-----"))
}

/// Those of certificates and keys (RFC 7468 §5, §10, §11; RFC 5915 §4).
const PEM_LABELS: [&str; 5] =
    ["CERTIFICATE", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// Whether the end of a block is followed by the end of a property or of the body.
fn lacks_quote(text: &str, label: &str) -> bool {
    let end = format!("-----END {label}-----");
    text.split(end.as_str()).skip(1).any(|mut rest| {
        while let Some(shorter) = [r"\n", r"\r", " "].iter().find_map(|skipped| rest.strip_prefix(skipped)) {
            rest = shorter;
        }
        rest.is_empty() || rest.starts_with([',', '}'])
    })
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

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        fields(map)
    }
}

/// Of an object, also of one in another.
pub(crate) fn fields<'de, T: FromFields, A: MapAccess<'de>>(mut map: A) -> Result<T, A::Error> {
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
    fn the_mistakes_that_pem_invites_are_named() {
        let missing = |label: &str| format!("; a quote is missing after -----END {label}-----.");
        for (body, expected) in [
            (r#"{"cert":"-----END CERTIFICATE-----},"key":"x"}"#, missing("CERTIFICATE")),
            (r#"{"cert":"-----END CERTIFICATE-----\n, "key":"x"}"#, missing("CERTIFICATE")),
            (r#"{"cert":"-----END CERTIFICATE-----\r\n,"key":"x"}"#, missing("CERTIFICATE")),
            (r#"{"key":"-----END EC PRIVATE KEY-----"#, missing("EC PRIVATE KEY")),
            (r#"{"key":"-----END RSA PRIVATE KEY-----}"#, missing("RSA PRIVATE KEY")),
            (
                r#"{"cert":"-----END CERTIFICATE-----","key":"-----END PRIVATE KEY-----},"x":1}"#,
                missing("PRIVATE KEY"),
            ),
            (
                "{\"cert\":\"-----BEGIN CERTIFICATE-----\nMII\"}",
                r"; in a text, a line break is written \n.".into(),
            ),
        ] {
            let message = message(body);
            assert!(message.ends_with(&expected), "{body}: {message}");
        }
        for body in [
            r#"{"cert":"-----END CERTIFICATE-----\n","key":"-----END PRIVATE KEY-----""#,
            r#"{"cert":"-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n"; "key":1}"#,
            r#"{"cert":"-----END SECRET-----}"#,
        ] {
            assert!(!message(body).contains(';'), "{body}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_an_unknown_field_may_hold_anything() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(message(&deep).contains("recursion limit exceeded"));
    }
}

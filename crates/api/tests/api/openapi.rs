//! The OpenAPI document equals the repository's. `CERTWARD_UPDATE_SNAPSHOTS=1` rewrites it.

use std::path::Path;

use serde_json::Value;

#[test]
fn the_document_is_the_one_in_the_repository() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    let document = certward_api::openapi();
    if std::env::var_os("CERTWARD_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, document).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == document,
        "the API has changed: run with CERTWARD_UPDATE_SNAPSHOTS=1 and look at the difference"
    );
}

fn document() -> Value {
    serde_json::from_str(certward_api::openapi()).unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

/// A reference resolved.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

#[test]
fn it_is_openapi_3_1_and_complete() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/public_api/v1");
    let mut count = 0;
    for (name, operation) in operations(&document) {
        count += 1;
        assert!(operation["summary"].is_string(), "{name}");
        let is_under_base = operation["tags"][0] != "beside the base";
        assert_eq!(is_under_base, operation["servers"].is_null(), "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            assert!(response["description"].as_str().unwrap().len() > 1, "{name} {status}");
            let content = &response["content"]["application/json"];
            let refused = status.starts_with('4') || (status.starts_with('5') && name != "GET /readyz");
            assert_eq!(refused, content["schema"]["$ref"] == "#/components/schemas/Error", "{name} {status}");
            if refused && is_under_base {
                assert!(content["examples"].as_object().is_some_and(|it| !it.is_empty()), "{name} {status}");
                assert!(!response["x-codes"].as_array().unwrap().is_empty(), "{name} {status}");
            }
            if is_under_base && status.starts_with('2') && status != "204" {
                assert!(!content["example"].is_null(), "{name} {status} has no example");
            }
        }
        if is_under_base {
            let answer = |status: &str| resolved(&document, &operation["responses"][status]);
            assert!(answer("401")["headers"]["WWW-Authenticate"].is_object(), "{name}");
            assert!(answer("429")["headers"]["Retry-After"].is_object(), "{name}");
        }
        if let Some(body) = operation["requestBody"]["content"]["application/json"].as_object() {
            assert!(body["example"].is_object(), "{name} has no example of a request");
        }
    }
    assert_eq!(count, 51);
    for reference in certward_api::openapi().split("\"#/").skip(1) {
        let pointer = format!("/{}", reference.split('"').next().unwrap());
        assert!(document.pointer(&pointer).is_some(), "{pointer}");
    }
}

/// What a text may be is said by a list, a pattern or its lengths; a number has a lower bound, a
/// parameter is never null.
#[test]
fn texts_and_numbers_have_bounds() {
    const MAY_BE_NEGATIVE: [&str; 2] = ["daysLeft", "atMillis"];
    /// As configured.
    const UNBOUNDED: [&str; 2] = ["platform", "region"];
    let document = document();
    let mut loose = Vec::new();
    let mut look = |place: String, schema: &Value| {
        let is = |kind: &str| schema["type"] == kind || schema["type"][0] == kind;
        let name = place.rsplit(' ').next().unwrap();
        let bounded = ["enum", "pattern", "maxLength"].iter().any(|word| !schema[word].is_null());
        if is("string") && !bounded && !UNBOUNDED.contains(&name) {
            loose.push(place.clone());
        }
        if is("integer") && schema["minimum"].is_null() && !MAY_BE_NEGATIVE.contains(&name) {
            loose.push(place);
        }
    };
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        look(name.clone(), schema);
        let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        for part in &parts {
            for (field, schema) in part["properties"].as_object().into_iter().flatten() {
                look(format!("{name} {field}"), schema);
            }
        }
    }
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            assert!(!schema["type"].is_array() && schema["oneOf"].is_null(), "{name}: {parameter}");
            // What a server does not understand of it is ignored (RFC 7240 §2).
            if parameter["name"] != "Prefer" {
                look(format!("{name} {}", parameter["name"]), schema);
            }
        }
    }
    assert_eq!(loose, Vec::<String>::new());
}

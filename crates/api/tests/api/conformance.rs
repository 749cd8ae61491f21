//! Every answer of these tests is one that the OpenAPI document promises.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{Answer, BASE};

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(certward_api::openapi()).unwrap());

/// Headers that the document must name for an answer that has them.
const HEADERS: [&str; 9] = [
    "certward-silent-nodes",
    "link",
    "preference-applied",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

/// Panics if the document does not have this answer. Requests to unknown paths, and with unknown
/// methods, are not in it.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap_or_default();
    let Some((template, item)) = item(path) else { return };
    let read = method == "HEAD";
    let operation = &item[if read { "get".to_owned() } else { method.to_lowercase() }];
    // Framing is checked before the path; a node without the API has no operation of it.
    if answer.text.contains("This node is a gateway and has no API") {
        return;
    }
    if operation.is_null() || (answer.status == 400 && answer.code() == "BAD_REQUEST") {
        return;
    }
    let place = format!("{method} {template}: {}", answer.status);
    let response = resolved(&operation["responses"][answer.status.to_string()]);
    assert!(response.is_object(), "{place} is not in the OpenAPI document: {}", answer.text);
    for (name, value) in &answer.headers {
        if HEADERS.contains(&name.as_str()) {
            let headers = response["headers"].as_object();
            let named = headers.into_iter().flatten().find(|(other, _)| other.eq_ignore_ascii_case(name));
            let (_, header) = named.unwrap_or_else(|| panic!("{place} does not name the header {name}"));
            let schema = &resolved(header)["schema"];
            let value =
                if schema["type"] == "integer" { json!(value.parse::<u64>().unwrap()) } else { json!(value) };
            assert_valid(&format!("{place}: {name}"), schema, &value);
        }
    }
    let content = &response["content"]["application/json"];
    if content.is_null() || read {
        return;
    }
    let body = answer.json();
    assert_valid(&place, &content["schema"], &body);
    if let Some(codes) = response["x-codes"].as_array() {
        assert!(codes.contains(&body["code"]), "{place} does not name the code {}", body["code"]);
    }
}

/// Under the base, or beside it.
fn item(path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object()?;
    let is_beside = |item: &Value| item["get"]["tags"][0] == "beside the base";
    let found = paths.iter().find(|(template, item)| match path.strip_prefix(BASE) {
        Some(rest) => !is_beside(item) && matches(template, rest),
        None => is_beside(item) && *template == path,
    });
    found.map(|(template, item)| (template.as_str(), item))
}

fn matches(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part == given || (part.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

pub(crate) fn assert_valid(place: &str, schema: &Value, value: &Value) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut validators = VALIDATORS.lock().unwrap();
    let validator = validators.entry(schema.to_string()).or_insert_with(|| {
        let mut root = schema.clone();
        root["components"] = DOCUMENT["components"].clone();
        Arc::new(jsonschema::draft202012::new(&root).unwrap())
    });
    let validator = Arc::clone(validator);
    drop(validators);
    let faults: Vec<String> =
        validator.iter_errors(value).map(|fault| format!("{} ({})", fault, fault.instance_path())).collect();
    assert!(faults.is_empty(), "{place} is not what the OpenAPI document says: {faults:?}: {value}");
}

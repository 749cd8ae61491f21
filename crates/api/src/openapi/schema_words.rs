//! Schemas in words, for the reference.

use serde_json::Value;
use utoipa::openapi::{
    OpenApi as Document, RefOr, Schema,
    schema::{ArrayItems, Object, SchemaType, Type},
};

use super::page::anchor;

/// The objects that a schema's fields are in.
pub(super) fn parts(schema: &Schema) -> Vec<&Object> {
    match schema {
        Schema::Object(object) => vec![object],
        Schema::AllOf(all) => {
            let of_item = |item| match item {
                &RefOr::T(Schema::Object(ref object)) => Some(object),
                _ => None,
            };
            all.items.iter().filter_map(of_item).collect()
        }
        _ => Vec::new(),
    }
}

pub(super) fn description(schema: &Schema) -> &str {
    let description = match schema {
        Schema::Object(object) => &object.description,
        Schema::AllOf(all) => &all.description,
        Schema::OneOf(one) => &one.description,
        Schema::Array(array) => &array.description,
        _ => &None,
    };
    description.as_deref().unwrap_or_default()
}

/// What a field says of itself, else its type.
pub(super) fn meaning(document: &Document, schema: &RefOr<Schema>) -> String {
    match schema {
        RefOr::Ref(reference) if reference.description.is_empty() => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            match document.components.as_ref().and_then(|it| it.schemas.get(name)) {
                Some(RefOr::T(schema)) => description(schema).to_owned(),
                _ => String::new(),
            }
        }
        RefOr::Ref(reference) => reference.description.clone(),
        RefOr::T(Schema::OneOf(one)) if one.description.is_none() => {
            one.items.iter().map(|item| meaning(document, item)).collect()
        }
        RefOr::T(schema) => description(schema).to_owned(),
    }
}

/// A schema in a word, with a link if it has a name.
pub(super) fn kind(schema: &RefOr<Schema>) -> String {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            format!("[{name}](#{})", anchor(name))
        }
        RefOr::T(Schema::Array(array)) => match &array.items {
            ArrayItems::RefOrSchema(item) => format!("array of {}", kind(item)),
            ArrayItems::False => "array".to_owned(),
        },
        RefOr::T(Schema::OneOf(one)) => {
            let is_named = |item: &&RefOr<Schema>| matches!(item, RefOr::Ref(_));
            one.items.iter().filter(is_named).map(kind).collect::<Vec<_>>().join(" or ")
        }
        RefOr::T(Schema::Object(object)) => of_object(object),
        RefOr::T(_) => "object".to_owned(),
    }
}

fn of_object(object: &Object) -> String {
    let types = match &object.schema_type {
        SchemaType::Type(one) => vec![one.clone()],
        SchemaType::Array(types) => types.clone(),
        SchemaType::AnyValue => Vec::new(),
    };
    let name = types.iter().find(|kind| **kind != Type::Null).map_or("any", |kind| match kind {
        Type::String => "text",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        _ => "object",
    });
    let number = |bound: &Option<_>| {
        let number = serde_json::to_value(bound.as_ref()?).ok()?.to_string();
        Some(number.trim_end_matches(".0").to_owned())
    };
    match (number(&object.minimum), number(&object.maximum), &object.pattern, &object.enum_values) {
        (Some(min), Some(max), ..) => format!("{name}, {min} to {max}"),
        (Some(min), None, ..) => format!("{name}, from {min}"),
        (_, _, Some(pattern), _) if pattern.len() < 40 => {
            format!("{name}, `{}`", pattern.replace('|', "\\|"))
        }
        _ => match object.max_length {
            Some(max) => format!("{name}, at most {max} characters"),
            None => name.to_owned(),
        },
    }
}

/// Of a text: its lengths, an example, its pattern.
pub(super) fn form(object: &Object) -> String {
    let lengths = match (object.min_length, object.max_length) {
        (Some(min), Some(max)) if min == max => format!("{min} characters"),
        (Some(min), Some(max)) => format!("{min} to {max} characters"),
        _ => "Text".to_owned(),
    };
    let pattern = object.pattern.as_ref().map(|it| format!("\n\n```text\n{it}\n```")).unwrap_or_default();
    let example = object.examples.first().and_then(Value::as_str).unwrap_or_default();
    format!("{lengths}, such as `{}`.{pattern}", example.replace('\n', "\\n"))
}

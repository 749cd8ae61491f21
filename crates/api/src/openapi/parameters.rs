use utoipa::openapi::{
    RefOr, Schema,
    path::Operation,
    schema::{SchemaType, Type},
};

/// A parameter, and a header of an answer, is absent or has a value: `null` is none of them.
///
/// utoipa describes an optional one as an optional field.
pub(super) fn plain(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(schema) = &mut parameter.schema
        {
            without_null(schema);
        }
    }
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for header in response.headers.values_mut() {
            if let RefOr::T(header) = header
                && let Some(schema) = &mut header.schema
            {
                without_null(schema);
            }
        }
    }
}

fn without_null(schema: &mut RefOr<Schema>) {
    let instead = match schema {
        RefOr::T(Schema::Object(object)) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|kind| *kind != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = SchemaType::Type(only.clone());
                }
            }
            None
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            one_of.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned()
        }
        _ => None,
    };
    if let Some(instead) = instead {
        *schema = instead;
    }
}

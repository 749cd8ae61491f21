//! The headers of answers.

use utoipa::openapi::{
    Components, Header, HeaderBuilder, Ref, RefOr, Response,
    path::Operation,
    schema::{ObjectBuilder, Type},
};

use crate::limit;

const REQUEST_ID: &str = "X-Request-Id";
const LINK: &str = "Link";
const PREFERENCE_APPLIED: &str = "Preference-Applied";

/// With `Prefer: handling`.
const HANDLED: [&str; 6] =
    ["createTls", "replaceTls", "rollbackTls", "addClientCAs", "removeClientCA", "checkTls"];

/// Lists that come in pages.
const PAGED: [&str; 6] =
    ["listExpiring", "listAlerts", "listAudit", "listDevices", "listStragglers", "listRevocations"];

pub(super) fn add_shared(components: &mut Components) {
    for (name, description) in limit::HEADERS.into_iter().chain([limit::RETRY_AFTER]) {
        components.headers.insert(name.to_owned(), RefOr::T(seconds_or_count(description)));
    }
    let request_id =
        text("Names the request in log and audit; drawn by certward.", "^[0-9a-f]{16}$", "9f86d081884c7d65");
    components.headers.insert(REQUEST_ID.to_owned(), RefOr::T(request_id));
    for response in components.responses.values_mut() {
        if let RefOr::T(response) = response {
            add(response, REQUEST_ID);
        }
    }
}

/// Of every answer.
pub(super) fn complete(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        add(response, REQUEST_ID);
        if HANDLED.contains(&id.as_str()) && matches!(status.as_str(), "200" | "422") {
            let description = "How a severe impact was handled, when the request said it.";
            let applied = text(description, "^handling=(strict|lenient)$", "handling=strict");
            response.headers.insert(PREFERENCE_APPLIED.to_owned(), RefOr::T(applied));
        }
        if status != "200" {
            continue;
        }
        if id == "getTls" {
            let applied = text("`wait=N`, when the answer was asked to be held.", "^wait=[0-9]+$", "wait=30");
            response.headers.insert(PREFERENCE_APPLIED.to_owned(), RefOr::T(applied));
        }
        if PAGED.contains(&id.as_str()) {
            let link = "</public_api/v1/expiring?limit=2&after=1795860000000.7>; rel=\"next\"";
            let next = text("The next page (RFC 8288); absent on the last.", "^<[^>]+>; rel=\"next\"$", link);
            response.headers.insert(LINK.to_owned(), RefOr::T(next));
        }
    }
}

/// Of the answers to counted requests.
pub(super) fn limited(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            limit::HEADERS.into_iter().for_each(|(name, _)| add(response, name));
        }
    }
}

/// One of the shared headers.
pub(super) fn add(response: &mut Response, name: &str) {
    let header = Ref::new(format!("#/components/headers/{name}"));
    response.headers.insert(name.to_owned(), RefOr::Ref(header));
}

pub(super) fn text(description: &str, pattern: &str, example: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).examples([example]);
    HeaderBuilder::new().description(Some(description)).schema(Some(schema.build())).build()
}

fn seconds_or_count(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).examples([42]);
    HeaderBuilder::new().description(Some(description)).schema(Some(schema.build())).build()
}

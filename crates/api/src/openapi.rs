//! The OpenAPI document: handlers' annotations, and from tables here refusals, `RateLimit-…`
//! headers and authentication.

use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        Content, Header, HeaderBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
        path::Operation,
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    error::ErrorBody,
    limit,
    routes::{
        self,
        deployments::{body::add_settings, change::DeploymentChangeBody, create::NewDeploymentBody},
    },
};

/// The OpenAPI 3.1 document, as JSON.
pub fn openapi() -> String {
    // String keys and plain values always serialise.
    let mut text = ApiDocument::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Method and path of every operation.
pub(crate) fn operations() -> Vec<(&'static str, String)> {
    let mut operations = Vec::new();
    for (path, item) in ApiDocument::openapi().paths.paths {
        let methods = [
            ("GET", item.get),
            ("POST", item.post),
            ("PUT", item.put),
            ("PATCH", item.patch),
            ("DELETE", item.delete),
        ];
        let found = methods.into_iter().filter(|(_, operation)| operation.is_some());
        operations.extend(found.map(|(method, _)| (method, path.clone())));
    }
    operations
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "certward",
        description = "Manages the TLS certificates of MQTT deployments. Programs written for the EMQX Cloud API \
                       \"TLS Certificate Management\" work against it by changing the base address alone.\n\n\
                       Unknown fields are ignored; a field given twice is 400. A body is JSON in UTF-8, at most \
                       256 KiB. HEAD is answered as GET. Times are UTC. Every answer has `X-Request-Id`, which \
                       names the request in log and audit."
    ),
    paths(
        routes::tls::show::show,
        routes::tls::create::create,
        routes::tls::replace::replace,
        routes::tls::remove::remove,
        routes::tls::check::check,
        routes::tls::failures::failures,
        routes::deployments::list::list,
        routes::deployments::create::create,
        routes::deployments::show::show,
        routes::deployments::change::change,
        routes::deployments::remove::remove,
        routes::projects::list::list,
        routes::projects::create::create,
        routes::projects::show::show,
        routes::projects::change::change,
        routes::projects::remove::remove,
        routes::keys::list::list,
        routes::keys::create::create,
        routes::keys::remove::remove,
        routes::nodes::list,
        routes::expiring::list,
        routes::alerts::list,
        routes::audit::list,
        routes::alert_channels::list::list,
        routes::alert_channels::create::create,
        routes::alert_channels::remove::remove,
        routes::alert_channels::test::test,
        routes::health::healthz,
        routes::health::readyz,
        routes::metrics::metrics,
    ),
    components(schemas(ErrorBody)),
    security(("basic" = [])),
    tags(
        (name = "tls", description = "The certificate of a deployment. Scope `tls`; to read, `tls:read` is enough."),
        (name = "deployments", description = "Scope `deployments`; to read, any."),
        (name = "projects", description = "Scope `admin`; to read, any."),
        (name = "keys", description = "Scope `admin`."),
        (name = "nodes", description = "Scope `admin`."),
        (name = "expiry", description = "What ends, and the alerts about it. Scope `admin`; to list what ends, any."),
        (name = "audit", description = "Who changed what, and what was refused. Scope `admin`."),
        (name = "operation", description = "Outside the base path."),
    ),
    modifiers(&CommonParts)
)]
struct ApiDocument;

/// Open to any valid key: no 403.
const ANY_SCOPE: [&str; 5] =
    ["listProjects", "getProject", "listDeployments", "getDeployment", "listExpiring"];

/// Counted against a rate limit.
const LIMITED: [&str; 11] = [
    "getTls",
    "createTls",
    "replaceTls",
    "deleteTls",
    "checkTls",
    "listTlsFailures",
    "listProjects",
    "getProject",
    "listDeployments",
    "getDeployment",
    "testAlertChannel",
];

/// Codes of 409.
const CONFLICTS: [(&str, &str); 8] = [
    ("createTls", "`DEPLOYMENT_CHANGED`"),
    ("replaceTls", "`DEPLOYMENT_CHANGED`"),
    ("createDeployment", "`DEPLOYMENT_EXISTS`, `DEPLOYMENT_QUOTA`"),
    ("createProject", "`PROJECT_EXISTS`, `HOST_SUFFIX_IN_USE`"),
    ("changeProject", "`HOST_SUFFIX_IN_USE`"),
    ("deleteProject", "`PROJECT_NOT_EMPTY`, `PROJECT_DEFAULT`"),
    ("deleteKey", "`LAST_ADMIN_KEY`"),
    ("createAlertChannel", "`CHANNEL_QUOTA`"),
];

struct CommonParts;

impl Modify for CommonParts {
    fn modify(&self, document: &mut Document) {
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("User name = API key, password = secret key."))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("basic", SecurityScheme::Http(basic));
            for body in [NewDeploymentBody::name(), DeploymentChangeBody::name()] {
                components.schemas.get_mut(&*body).into_iter().for_each(add_settings);
            }
        }
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with(crate::auth::BASE) {
                continue;
            }
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                complete(path, operation);
            }
        }
    }
}

fn complete(path: &str, operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    for (status, description) in refusals(path, &id, operation.request_body.is_some()) {
        let response = refusal(status, &description);
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response));
    }
    if LIMITED.contains(&id.as_str()) {
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && !matches!(status.as_str(), "401" | "403" | "503")
            {
                limit::HEADERS.into_iter().for_each(|it| add_header(response, it, Type::Integer));
            }
        }
    }
    if id == "getTls" {
        let applied = ("Preference-Applied", "`wait=N`, when the answer was asked to be held.");
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
            add_header(response, applied, Type::String);
        }
    }
}

/// In the order of the checks.
fn refusals(path: &str, id: &str, has_body: bool) -> Vec<(&'static str, String)> {
    let conflict = CONFLICTS.into_iter().find(|(operation, _)| *operation == id).map(|(_, codes)| codes);
    let not_found = if path.ends_with("/tls") && matches!(id, "replaceTls" | "deleteTls") {
        "`DEPLOYMENT_NOT_FOUND`; `TLS_NOT_FOUND`, which is counted"
    } else if path.contains("/deployments/") {
        "`DEPLOYMENT_NOT_FOUND`"
    } else {
        "`NOT_FOUND`"
    };
    let has_422 = (has_body && id != "checkTls") || matches!(id, "deleteTls" | "listExpiring" | "listAlerts");
    let wrong = match id {
        "listExpiring" | "listAlerts" => "`QUERY_INVALID`: a query parameter is wrong",
        "deleteTls" => "`QUERY_UNEXPECTED`: it takes no query parameter",
        "createTls" => "The code of the most important finding, or `TLS_ALREADY_EXISTS`",
        _ => "The code of the most important finding",
    };
    [
        (true, "401", "`UNAUTHORIZED`"),
        (!ANY_SCOPE.contains(&id), "403", "`NO_ACCESS`: the key has no scope for this"),
        (path.contains('{'), "404", not_found),
        (true, "429", "`RATE_LIMITED`"),
        (has_body, "413", "`BODY_TOO_LARGE`"),
        (has_body, "415", "`UNSUPPORTED_MEDIA_TYPE`"),
        (has_body, "400", "`INVALID_JSON`"),
        (has_body, "408", "`REQUEST_TIMEOUT`: the body did not arrive in time"),
        (has_422, "422", wrong),
        (conflict.is_some(), "409", conflict.unwrap_or_default()),
        (true, "503", "`STORE_UNAVAILABLE`: whether a change was made, GET says once it can"),
    ]
    .into_iter()
    .filter(|(applies, ..)| *applies)
    .map(|(_, status, description)| (status, format!("{description}.")))
    .collect()
}

fn refusal(status: &str, description: &str) -> Response {
    let schema = Ref::from_schema_name("Error");
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/json", Content::new(Some(schema)))
        .build();
    match status {
        "401" => {
            add_header(&mut response, ("WWW-Authenticate", "The challenge of HTTP Basic."), Type::String)
        }
        "429" | "503" => add_header(&mut response, limit::RETRY_AFTER, Type::Integer),
        _ => {}
    }
    response
}

fn add_header(response: &mut Response, (name, description): (&str, &str), kind: Type) {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    let header: Header = HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build();
    response.headers.insert(name.to_owned(), RefOr::T(header));
}

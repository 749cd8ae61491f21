//! The OpenAPI document: what the routes' annotations say, and what is common to them.

use std::sync::LazyLock;

use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        OpenApi as Document,
        path::PathItem,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
        server::{Server, ServerBuilder},
    },
};

use self::vocabulary::{AuditResultWord, OrderWord, SpanText};
use crate::{
    auth::BASE,
    error::ErrorBody,
    routes::{
        self,
        deployments::{body::add_settings, change::DeploymentChangeBody, create::NewDeploymentBody},
    },
};

mod examples;
mod headers;
mod links;
mod operation;
mod page;
mod parameters;
mod reference;
mod refusals;
mod schema_words;
pub(crate) mod vocabulary;

/// The OpenAPI 3.1 document, as JSON.
pub fn openapi() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // String keys and plain values always serialise.
        let mut text = ApiDocument::openapi().to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

/// The reference for people, in Markdown.
fn reference() -> String {
    reference::reference(&ApiDocument::openapi())
}

pub(crate) const PAGE_STYLE: &str = page::STYLE;

/// The reference for people, as HTML.
pub(crate) fn page() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| page::page(&reference()));
    &TEXT
}

/// Method and whole path of every operation.
pub(crate) fn operations() -> Vec<(&'static str, String)> {
    let mut operations = Vec::new();
    for (path, item) in ApiDocument::openapi().paths.paths {
        let path = if is_under_base(&item) { format!("{BASE}{path}") } else { path };
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
                       256 KiB where the operation does not say otherwise. HEAD is answered as GET. Times are UTC. Paths are matched exactly, without a \
                       trailing slash. Every answer of a route has `X-Request-Id`, which names the request in \
                       log and audit.\n\n\
                       A request that is not HTTP/1.1 is 400 `BAD_REQUEST`, one whose path is too long 414 \
                       `URI_TOO_LONG`, one whose head is over 16 KiB or has over 100 headers 431 \
                       `HEADERS_TOO_LARGE`; another method of a path is 405 `METHOD_NOT_ALLOWED` with `Allow`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        routes::tls::show::show,
        routes::tls::create::create,
        routes::tls::replace::replace,
        routes::tls::remove::remove,
        routes::tls::check::check,
        routes::tls::failures::failures,
        routes::tls::versions::versions,
        routes::tls::erase_version::erase_version,
        routes::tls::rollback::rollback,
        routes::tls::client_cas::list::list,
        routes::tls::client_cas::add::add,
        routes::tls::client_cas::remove::remove,
        routes::tls::client_cas::stragglers::stragglers,
        routes::revocations::list::list,
        routes::revocations::add::add,
        routes::revocations::remove::remove,
        routes::crls::list::list,
        routes::crls::show::show,
        routes::crls::set::set,
        routes::crls::remove::remove,
        routes::devices::list::list,
        routes::devices::summary::summary,
        routes::devices::forget::forget,
        routes::sessions::list::list,
        routes::sessions::close::close,
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
        routes::documents::openapi,
        routes::documents::docs,
    ),
    // Those of parameters alone are not found by themselves.
    components(schemas(ErrorBody, AuditResultWord, OrderWord, SpanText)),
    security(("basic" = [])),
    tags(
        (name = "tls", description = "The certificate of a deployment."),
        (name = "revocation", description = "Certificates that a deployment refuses: its deny-list and CRLs."),
        (name = "devices", description = "Devices that a broker answered, and their sessions."),
        (name = "deployments", description = "Brokers, and the names that lead to them."),
        (name = "projects", description = "Who may claim which brokers and names."),
        (name = "keys", description = "API keys."),
        (name = "nodes", description = "Running certwards."),
        (name = "expiry", description = "What ends, and the alerts about it."),
        (name = "audit", description = "Who changed what, and what was refused."),
        (name = "beside the base", description = "Beside the base path, and without a key."),
    ),
    modifiers(&CommonParts)
)]
struct ApiDocument;

struct CommonParts;

impl Modify for CommonParts {
    fn modify(&self, document: &mut Document) {
        let base = "The base of all paths that need a key, relative to the address of this document.";
        document.servers = Some(vec![server(BASE, base)]);
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("User name = API key, password = secret key."))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("basic", SecurityScheme::Http(basic));
            for body in [NewDeploymentBody::name(), DeploymentChangeBody::name()] {
                components.schemas.get_mut(&*body).into_iter().for_each(add_settings);
            }
            refusals::add_shared(components);
            headers::add_shared(components);
            refusals::add_shared_of_http(components);
        }
        for (path, item) in &mut document.paths.paths {
            let beside_base = !is_under_base(item);
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                parameters::plain(operation);
                if beside_base {
                    refusals::add_beside_base(operation);
                    operation.servers = Some(vec![server("/", "Beside the base.")]);
                } else {
                    operation::complete(path, operation);
                }
                headers::complete(operation);
                examples::add(operation);
                links::add(operation);
            }
        }
    }
}

fn server(url: &str, description: &str) -> Server {
    ServerBuilder::new().url(url).description(Some(description)).build()
}

/// By its tag: annotations know no base.
fn is_under_base(item: &PathItem) -> bool {
    let tags = item.get.as_ref().and_then(|operation| operation.tags.as_ref());
    !tags.is_some_and(|tags| tags.iter().any(|tag| tag == "beside the base"))
}

use crate::routes;
use utoipa::OpenApi;
/// The OpenAPI 3.1 document of this API, as JSON.
pub fn openapi() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}
#[derive(OpenApi)]
#[openapi(paths(
    routes::tls::show::show,
    routes::tls::create::create,
    routes::tls::replace::replace,
    routes::tls::remove::remove,
    routes::tls::check::check,
    routes::deployments::list::list,
    routes::deployments::create::create,
    routes::deployments::show::show,
    routes::deployments::change::change,
    routes::deployments::remove::remove,
    routes::projects::list::list,
    routes::projects::create::create,
    routes::projects::remove::remove,
    routes::keys::list::list,
    routes::keys::create::create,
    routes::keys::remove::remove,
    routes::health::healthz,
    routes::health::readyz,
    routes::metrics::metrics,
))]
struct Document;

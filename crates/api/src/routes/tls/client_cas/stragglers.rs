use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{Straggler, Stragglers};
use certward_pki::DeviceId;
use certward_store::{Method, Scope};
use http::Uri;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, FingerprintText},
    page::{AFTER_FAULT, ListQuery},
    path_id::PathId,
    routes::devices::list::DeviceBody,
    silent_nodes,
};

/// The known devices that need a client CA: accepted today, and refused without it; by id. Another
/// certificate of the CA, or another way to a client CA, is enough to need it not. A device that
/// was seen since with a certificate of the same name that stays accepted has moved on, and is
/// listed only while it is connected with the old one. A page may have fewer devices than `limit`;
/// `Link` tells whether it is the last. Counted on its own. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/tls/client-cas/{fingerprint}/stragglers", tag = "tls", operation_id = "listStragglers",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("fingerprint" = FingerprintText, Path, description = "The client CA's fingerprint."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent."),
        ("after" = Option<String>, Query, pattern = "^[0-9a-f]{32}$", max_length = 32, description = "From the `Link` header of the page before.")),
    responses((status = 200, description = "A bare array; `Link` with `rel=\"next\"` leads to more.", body = [DeviceBody],
        headers(("Certward-Silent-Nodes" = Option<String>, description = "The nodes with a gateway that have not \
            answered whether devices are connected, separated by commas; `*` for all but the one that answers. Absent \
            if none is missing.")))))]
pub(crate) async fn stragglers(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    let subject = format!("{}/tls/client-cas/stragglers", deployment.id);
    api.limited(&caller, &subject, Method::Pages, async {
        let query = ListQuery::read(&uri)?;
        let limit = query.limit()?;
        let after = query.parameter("after", AFTER_FAULT, DeviceId::parse)?;
        let fingerprint = PathId::client_ca_of(uri.path()).unwrap_or_default();
        let reference = deployment.reference();
        let page = api.lifecycle.stragglers(&caller.key, &reference, &fingerprint, (after, limit));
        let Stragglers { devices, next, silent } = page.await?;
        let mut headers = next.map(|last| query.next_after(&last.to_string())).unwrap_or_default();
        silent_nodes::add_header(&mut headers, &silent);
        let bodies =
            devices.into_iter().map(|Straggler { device, connected }| DeviceBody::of(device, connected));
        Ok((headers, Json(bodies.collect::<Vec<_>>())).into_response())
    })
    .await
}

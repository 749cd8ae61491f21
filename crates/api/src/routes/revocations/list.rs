use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{Generation, Method, RevocationId, Scope};
use http::Uri;

use super::body::RevocationBody;
use crate::{
    auth::Caller, context::Shared, error::Error, openapi::vocabulary::DeploymentIdText, page::ListQuery,
    path_id::PathId,
};

/// The deny-list of a deployment, newest first. Counted on its own, ten times as many as other
/// reads. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/tls/revocations", tag = "revocation", operation_id = "listRevocations",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent."),
        ("after" = Option<String>, Query, pattern = "^[0-9]+[.][0-9a-f]{32}$", max_length = 100, description = "From the `Link` header of the page before.")),
    responses((status = 200, description = "A bare array; `Link` with `rel=\"next\"` leads to more.", body = [RevocationBody])))]
pub(crate) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    let subject = format!("{}/tls/revocations", deployment.id);
    api.limited(&caller, &subject, Method::Pages, async {
        let query = ListQuery::read(&uri)?;
        let limit = query.limit()?;
        let after = query.after(|text| text.parse().ok().map(Generation), RevocationId::parse)?;
        let found = api.lifecycle.revocations(&deployment.reference(), after, limit).await?;
        let found = found.ok_or(Error::DeploymentNotFound)?;
        let last = found.last().filter(|_| found.len() == limit as usize);
        let next = last.map(|last| query.next((last.generation.0, last.id))).unwrap_or_default();
        let page: Vec<_> = found.into_iter().map(RevocationBody::from).collect();
        Ok((next, Json(page)).into_response())
    })
    .await
}

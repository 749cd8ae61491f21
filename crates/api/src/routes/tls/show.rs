use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{AwaitedNodes, TlsView};
use certward_store::{Deployment, Method, Scope, StoreError};
use http::{HeaderMap, HeaderValue};

use super::body::TlsBody;
use crate::{
    auth::Caller,
    context::{Context, Shared},
    error::Error,
    openapi::vocabulary::DeploymentIdText,
    path_id::PathId,
    prefer,
};

/// Where the certificate of a deployment stands.
///
/// With `Prefer: wait=N` (at most 60) the answer is held until the status is neither `pending` nor
/// `terminated`, or N seconds have passed; it counts as one request.
#[utoipa::path(get, path = "/deployments/{id}/tls", tag = "tls", operation_id = "getTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("Prefer" = Option<String>, Header, example = "wait=30", description = "`wait=N`: hold the answer up to N seconds, 60 at most. What is not understood is ignored.")),
    responses((status = 200, description = "The newest accepted upload; `{}` without one.", body = TlsBody)))]
pub(crate) async fn show(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    api.limited(&caller, deployment.id.as_str(), Method::Get, async {
        let wait = prefer::wait(&headers);
        let view = match wait {
            Some(wait) => {
                let view = api.settled(&deployment, wait).await?;
                api.require_still(&caller, Scope::TlsRead, &deployment).await?;
                view
            }
            None => api.lifecycle.tls(&deployment).await?,
        };
        let view = view.ok_or(Error::DeploymentNotFound)?;
        let nodes = match view.is_unproven() {
            true => api.lifecycle.awaited_nodes(&deployment.id).await?,
            false => AwaitedNodes::default(),
        };
        Ok((preference_applied(wait), Json(TlsBody::from(view).with_nodes(nodes))).into_response())
    })
    .await
}

impl Context {
    /// Waits, at most until shutdown; then the current state.
    async fn settled(&self, deployment: &Deployment, wait: Duration) -> Result<Option<TlsView>, StoreError> {
        tokio::select! {
            view = self.lifecycle.tls_settled(deployment, wait) => view,
            () = self.shutdown.cancelled() => self.lifecycle.tls(deployment).await,
        }
    }
}

fn preference_applied(wait: Option<Duration>) -> HeaderMap {
    let applied = wait.and_then(|wait| HeaderValue::from_str(&format!("wait={}", wait.as_secs())).ok());
    applied.map(|value| (prefer::PREFERENCE_APPLIED, value)).into_iter().collect()
}

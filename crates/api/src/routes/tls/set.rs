//! Common to POST and PUT of a certificate.

use axum::{
    Extension, Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use certward_lifecycle::AcceptedUpload;
use certward_store::{Method, Scope};

use super::body::TlsBody;
use crate::{auth::Caller, body, context::Context, error::Error, path_id::PathId, upload};

#[derive(Clone, Copy)]
pub(super) enum CertificateWrite {
    Create,
    Replace,
}

pub(super) async fn set(
    api: &Context,
    caller: &Caller,
    id: &PathId,
    request: Request,
    write: CertificateWrite,
) -> Result<Response, Error> {
    let deployment = api.deployment(caller, Some(Scope::Tls), id).await?;
    let method = match write {
        CertificateWrite::Create => Method::Post,
        CertificateWrite::Replace => Method::Put,
    };
    api.limited(caller, deployment.id.as_str(), method, async {
        let upload = upload::read(&body::read(request, api.settings.deadlines.body).await?)?.into();
        api.require_still(caller, Scope::Tls, &deployment).await?;
        let reference = deployment.reference();
        let set = match write {
            CertificateWrite::Create => {
                api.lifecycle.create_tls(caller.requester(), &reference, upload).await
            }
            CertificateWrite::Replace => {
                api.lifecycle.replace_tls(caller.requester(), &reference, upload).await
            }
        };
        if set.is_err() {
            // The error reveals the deployment's state.
            api.require_still(caller, Scope::Tls, &deployment).await?;
        }
        let AcceptedUpload { view, change } = set?;
        // The change is stored: an answer without them is better than an error.
        let nodes = api.lifecycle.awaited_nodes(&reference.id).await.unwrap_or_default();
        Ok((Extension(change), Json(TlsBody::from(view).with_nodes(nodes))).into_response())
    })
    .await
}

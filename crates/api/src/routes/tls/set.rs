//! Common to POST and PUT of a certificate, and to rollbacks.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use certward_lifecycle::AcceptedUpload;
use certward_pki::Upload;
use certward_store::{CloseRate, Method, Scope, VersionId};
use http::Uri;

use super::body::TlsBody;
use crate::{
    auth::Caller, body, close_rate, context::Context, error::Error, page::ListQuery, path_id::PathId, prefer,
    property::Properties, upload,
};

#[derive(Clone, Copy)]
pub(super) enum CertificateWrite {
    Create,
    Replace,
    Rollback,
}

/// With its body.
enum ReadWrite {
    Create(Arc<Upload>),
    Replace(Arc<Upload>),
    Rollback(Option<VersionId>),
}

pub(super) async fn set(
    api: &Context,
    caller: &Caller,
    id: &PathId,
    request: Request,
    write: CertificateWrite,
) -> Result<Response, Error> {
    let deployment = api.deployment(caller, Some(Scope::Tls), id).await?;
    api.limited(caller, deployment.id.as_str(), write.method(), async {
        let asked = prefer::handling(request.headers());
        let handling = asked.unwrap_or_default();
        let uri = request.uri().clone();
        let read = write.read(&body::read(request, api.settings.deadlines.body).await?)?;
        let close_rate = write.close_rate(&uri)?;
        api.require_still(caller, Scope::Tls, &deployment).await?;
        let (requester, reference) = (caller.requester(), deployment.reference());
        let lifecycle = &api.lifecycle;
        let set = match read {
            ReadWrite::Create(upload) => lifecycle.create_tls(requester, &reference, upload, handling).await,
            ReadWrite::Replace(upload) => {
                lifecycle.replace_tls(requester, &reference, upload, handling, close_rate).await
            }
            ReadWrite::Rollback(version) => {
                lifecycle.roll_back_tls(requester, &reference, version, handling, close_rate).await
            }
        };
        if set.is_err() {
            // The error reveals the deployment's state.
            api.require_still(caller, Scope::Tls, &deployment).await?;
        }
        let AcceptedUpload { view, change, impact } = set?;
        // The change is stored: an answer without them is better than an error.
        let nodes = api.lifecycle.awaited_nodes(&reference.id).await.unwrap_or_default();
        let body = TlsBody::from(view).with_nodes(nodes).with_impact(impact);
        let mut answer = (Extension(change), Json(body)).into_response();
        prefer::add_handling(answer.headers_mut(), asked);
        Ok(answer)
    })
    .await
}

impl CertificateWrite {
    fn method(self) -> Method {
        match self {
            Self::Create => Method::Post,
            Self::Replace => Method::Put,
            Self::Rollback => Method::Rollback,
        }
    }

    /// The first certificate disconnects no device.
    fn close_rate(self, uri: &Uri) -> Result<Option<CloseRate>, Error> {
        match self {
            Self::Create => Ok(None),
            Self::Replace | Self::Rollback => close_rate::read(&ListQuery::read(uri)?),
        }
    }

    fn read(self, bytes: &[u8]) -> Result<ReadWrite, Error> {
        Ok(match self {
            Self::Create => ReadWrite::Create(upload::read(bytes)?.into()),
            Self::Replace => ReadWrite::Replace(upload::read(bytes)?.into()),
            Self::Rollback => {
                let mut properties = Properties::read(bytes)?;
                let version = properties.version("version");
                properties.finish()?;
                ReadWrite::Rollback(version)
            }
        })
    }
}

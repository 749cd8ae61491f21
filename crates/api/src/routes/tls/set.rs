//! Common to POST and PUT of a certificate, to rollbacks, and to changes of client CAs.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use certward_lifecycle::AcceptedUpload;
use certward_pki::{Text, Upload};
use certward_store::{CloseRate, Method, Scope, VersionId};
use http::Uri;

use super::body::TlsBody;
use crate::{
    auth::Caller, body, close_rate, context::Context, error::Error, page::ListQuery, path_id::PathId, prefer,
    property::Properties, upload,
};

pub(super) enum CertificateWrite {
    Create,
    Replace,
    Rollback,
    AddClientCas,
    /// By its fingerprint; without a body.
    RemoveClientCa(String),
}

/// With its body.
enum ReadWrite {
    Create(Arc<Upload>),
    Replace(Arc<Upload>),
    Rollback(Option<VersionId>),
    AddClientCas(Text),
    RemoveClientCa(String),
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
        // Judged after the body.
        let close_rate = write.close_rate(request.uri());
        let read = match write {
            CertificateWrite::RemoveClientCa(fingerprint) => ReadWrite::RemoveClientCa(fingerprint),
            write => write.read(&body::read(request, api.settings.deadlines.body).await?)?,
        };
        let close_rate = close_rate?;
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
            ReadWrite::AddClientCas(cacert) => {
                lifecycle.add_client_cas(requester, &reference, cacert, handling).await
            }
            ReadWrite::RemoveClientCa(fingerprint) => {
                lifecycle.remove_client_ca(requester, &reference, &fingerprint, handling, close_rate).await
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
    fn method(&self) -> Method {
        match self {
            Self::Create => Method::Post,
            Self::Replace => Method::Put,
            Self::Rollback => Method::Rollback,
            Self::AddClientCas | Self::RemoveClientCa(_) => Method::ClientCas,
        }
    }

    /// The first certificate disconnects no device.
    fn close_rate(&self, uri: &Uri) -> Result<Option<CloseRate>, Error> {
        match self {
            Self::Create | Self::AddClientCas => Ok(None),
            Self::Replace | Self::Rollback | Self::RemoveClientCa(_) => {
                close_rate::read(&ListQuery::read(uri)?)
            }
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
            Self::AddClientCas => ReadWrite::AddClientCas(upload::read(bytes)?.cacert),
            Self::RemoveClientCa(fingerprint) => ReadWrite::RemoveClientCa(fingerprint),
        })
    }
}

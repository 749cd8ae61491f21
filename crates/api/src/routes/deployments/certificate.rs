use std::{borrow::Cow, collections::HashMap};

use certward_lifecycle::days_left;
use certward_store::{Deployment, DeploymentId, ProjectId, StoreError, TlsState, UploadEnd};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    context::Context,
    openapi::vocabulary::{CauseText, CertificateNameText, SentenceText, TlsTypeWord, UtcTimeText},
    routes::tls::body::TlsStatus,
    wire_time,
};

/// The certificate of a deployment, in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeploymentTls)]
pub(crate) struct CertificateBody {
    #[schema(value_type = TlsStatus)]
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<TlsTypeWord>)]
    tls_type: Option<&'static str>,
    /// The leaf's common name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    cn: Option<String>,
    /// The leaf's notAfter, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    expire: Option<String>,
    /// Whole days until then, rounded down: 0 on the last day, negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 41, nullable = false)]
    days_left: Option<i64>,
    /// Why, when the status is `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<SentenceText>)]
    reason: Option<String>,
}

/// The newest failed handshake of the node that answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LastFailure)]
pub(crate) struct LastFailureBody {
    /// When, UTC.
    #[schema(value_type = UtcTimeText)]
    at: String,
    /// As in `tls/failures`.
    #[schema(value_type = CauseText)]
    cause: Cow<'static, str>,
}

impl Context {
    /// The newest uploads of deployments of one project, in the order of their ids.
    pub(super) async fn uploads(
        &self,
        project: &ProjectId,
        deployments: &[Deployment],
    ) -> Result<HashMap<DeploymentId, UploadEnd>, StoreError> {
        let (Some(first), Some(last)) = (deployments.first(), deployments.last()) else {
            return Ok(HashMap::new());
        };
        let uploads = self.lifecycle.store().read().upload_ends(project, &first.id, &last.id).await?;
        Ok(uploads.into_iter().map(|upload| (upload.deployment.clone(), upload)).collect())
    }

    /// `None` without a certificate.
    pub(super) fn certificate_body(
        &self,
        deployment: &Deployment,
        upload: Option<&UploadEnd>,
    ) -> Option<CertificateBody> {
        let (status, reason) = match &deployment.tls {
            TlsState::Absent => return None,
            TlsState::Pending { .. } => ("pending", None),
            TlsState::Running { .. } => ("running", None),
            TlsState::Failed { reason, .. } => ("failed", Some(reason.clone())),
            TlsState::Terminated => ("terminated", None),
        };
        // Read later: a change in between has another version.
        let upload = upload.filter(|upload| deployment.tls.version() == Some(upload.version));
        let now = self.lifecycle.store().clock().now();
        Some(CertificateBody {
            status,
            tls_type: upload.map(|upload| upload.tls_type.as_str()),
            cn: upload.and_then(|upload| upload.common_name.clone()),
            expire: upload.map(|upload| wire_time::to_the_second(upload.not_after.to_time())),
            days_left: upload.map(|upload| days_left(upload.not_after, now)),
            reason,
        })
    }

    pub(super) fn last_failure(&self, id: &DeploymentId) -> Option<LastFailureBody> {
        let newest = self.lifecycle.node_view().newest_failure(id)?;
        Some(LastFailureBody { at: wire_time::to_the_second(newest.at.to_time()), cause: newest.cause })
    }
}

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::CheckedUpload;
use certward_pki::{Judgement, Material};
use certward_store::{Method, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    body,
    context::Shared,
    detail::Detail,
    error::Error,
    impact_body::ImpactBody,
    openapi::vocabulary::{CertificateNameText, DeploymentIdText, TlsTypeWord, UtcTimeText},
    path_id::PathId,
    prefer,
    upload::{self, UploadBody},
    wire_time,
};

/// What would become of an upload.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TlsCheck)]
pub(crate) struct CheckBody {
    /// Whether POST or PUT would accept it now.
    accepted: bool,
    /// All findings, most important first.
    findings: Vec<Detail>,
    /// What would be served; absent when it is not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    serves: Option<ServedBody>,
    /// What it would do to devices; absent when it is not accepted, or nothing is known of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    impact: Option<ImpactBody>,
}

/// What would be served.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Served)]
pub(crate) struct ServedBody {
    #[schema(value_type = TlsTypeWord)]
    tls_type: &'static str,
    /// The leaf's notAfter, UTC.
    #[schema(value_type = UtcTimeText)]
    expire: String,
    /// The leaf's common name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<CertificateNameText>)]
    cn: Option<String>,
    /// How many certificates the chain has, the leaf included.
    #[schema(minimum = 1, maximum = 10)]
    chain_length: usize,
    /// How many client CAs would be trusted; 0 for one-way.
    #[schema(minimum = 0, maximum = 100)]
    client_cas: usize,
}

/// Judges an upload without storing anything: 200 with all findings, also where POST or PUT would
/// refuse it.
#[utoipa::path(post, path = "/deployments/{id}/tls/check", tag = "tls", operation_id = "checkTls",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("Prefer" = Option<String>, Header, example = "handling=strict", description = "`handling=strict`: a severe impact is 422 `IMPACT_SEVERE`, and nothing is stored. What is not understood is ignored.")),
    request_body = UploadBody,
    responses((status = 200, description = "The findings, and what would be served.", body = CheckBody)))]
pub(crate) async fn check(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    api.limited(&caller, deployment.id.as_str(), Method::Check, async {
        let asked = prefer::handling(request.headers());
        let upload = upload::read(&body::read(request, api.settings.deadlines.body).await?)?;
        api.require_still(&caller, Scope::Tls, &deployment).await?;
        let handling = asked.unwrap_or_default();
        let checked = api.lifecycle.check_tls(&caller.key, &deployment, upload.into(), handling).await;
        // The findings reveal the deployment's state.
        api.require_still(&caller, Scope::Tls, &deployment).await?;
        let mut answer = Json(CheckBody::from(checked?)).into_response();
        prefer::add_handling(answer.headers_mut(), asked);
        Ok(answer)
    })
    .await
}

impl From<CheckedUpload> for CheckBody {
    fn from(CheckedUpload { judgement, impact }: CheckedUpload) -> Self {
        let Judgement { findings, material, .. } = judgement;
        Self {
            impact: impact.map(ImpactBody::from),
            accepted: material.is_some(),
            findings: Detail::list(findings),
            serves: material.as_ref().map(ServedBody::from),
        }
    }
}

impl From<&Material> for ServedBody {
    fn from(material: &Material) -> Self {
        Self {
            tls_type: material.tls_type().as_str(),
            expire: wire_time::to_the_second(material.bundle.not_after()),
            cn: material.bundle.common_name().map(str::to_owned),
            chain_length: material.bundle.chain().len(),
            client_cas: material.client_trust.as_ref().map_or(0, |trust| trust.anchors().len()),
        }
    }
}

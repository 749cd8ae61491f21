use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::{AcceptedCrl, NewCrl};
use certward_pki::StalePolicy;
use certward_store::{CrlId, CrlUrl, Method, Scope};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::{body::CrlBody, crl_path::subject};
use crate::{
    auth::Caller,
    body, close_rate,
    context::{Context, Shared},
    detail::Detail,
    error::Error,
    openapi::vocabulary::{CrlIdText, CrlUrlText, DeploymentIdText, NodeIdText, StalePolicyWord},
    page::ListQuery,
    path_id::PathId,
    property::Properties,
    refusal_code::RefusalCode,
    silent_nodes,
};

/// Where a CRL is fetched from.
#[derive(ToSchema)]
#[schema(as = CrlSource)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct CrlSourceBody {
    /// http or https. `crl_allow` of the configuration must permit its network.
    #[schema(value_type = CrlUrlText)]
    url: String,
    /// Absent: as the CRL that is replaced; `soft` for a new one.
    #[schema(value_type = Option<StalePolicyWord>)]
    stale: Option<String>,
}

/// A CRL that was set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SetCrl)]
pub(crate) struct SetCrlBody {
    #[serde(flatten)]
    crl: CrlBody,
    /// What was found about an uploaded one; empty when nothing.
    #[schema(max_items = 100)]
    warnings: Vec<Detail>,
    /// Nodes with a gateway that have not acknowledged the change within a second: there a client
    /// that it refuses may still be served. `*` for all but the one that answers.
    #[schema(value_type = Vec<NodeIdText>)]
    silent_nodes: Vec<String>,
}

/// A CRL as DER or PEM, up to 16 MiB; beside PEM, certificates of intermediates.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary, max_length = 16_777_216)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct CrlFile(Vec<u8>);

/// Sets a CRL, in place of one with its id: DER or PEM as it is, up to 16 MiB, or an address that
/// it is fetched from. It must be complete and signed by a client CA, or by an intermediate whose
/// certificate is beside it in the PEM. Sessions that it revokes are closed, and no others. It is
/// no version: certificate and status stay. Counted on its own.
#[utoipa::path(put, path = "/deployments/{id}/tls/crls/{crl}", tag = "revocation", operation_id = "setCrl",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("crl" = CrlIdText, Path, description = "The CRL's id, of your choice."),
        ("stale" = Option<StalePolicyWord>, Query, description = "What it means after its nextUpdate; of DER and PEM. Absent: as the CRL that is replaced; `soft` for a new one."),
        ("closeRate" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "How many sessions are closed in a second, over all nodes; all at once when absent. New handshakes are refused at once all the same.")),
    request_body(content((CrlSourceBody = "application/json"), (CrlFile = "application/pkix-crl"), (CrlFile = "application/x-pem-file"))),
    responses((status = 200, description = "Set; durable.", body = SetCrlBody)))]
pub(crate) async fn set(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    api.limited(&caller, &subject(&deployment), Method::Revocation, async {
        let uri = request.uri().clone();
        let (crl, given) = read(&api, request).await?;
        let rate = close_rate::read(&ListQuery::read(&uri)?)?;
        api.require_still(&caller, Scope::Tls, &deployment).await?;
        let reference = deployment.reference();
        let GivenCrl { new, stale, place: _kept } = given;
        let set = api.lifecycle.set_crl(caller.requester(), &reference, &crl, new, stale, rate).await;
        if set.is_err() {
            // The error reveals the deployment's state.
            api.require_still(&caller, Scope::Tls, &deployment).await?;
        }
        let AcceptedCrl { crl, findings, generation } = set?;
        let body = SetCrlBody {
            crl: CrlBody::of(crl, api.lifecycle.store().clock().now()),
            warnings: Detail::list(findings),
            silent_nodes: silent_nodes::without(&api.lifecycle, &reference.id, generation).await,
        };
        Ok(Json(body).into_response())
    })
    .await
}

struct GivenCrl {
    new: NewCrl,
    /// `None`: as the CRL that is replaced.
    stale: Option<StalePolicy>,
    /// Of the upload, until it is stored.
    place: Option<body::LargeBody>,
}

/// Faults of the path and the query are reported after those of the body.
async fn read(api: &Context, request: Request) -> Result<(CrlId, GivenCrl), Error> {
    let uri = request.uri().clone();
    let given = match api.crl_body(request).await? {
        body::UploadedCrl::Json(bytes) => {
            let (url, stale) = read_source(&bytes)?;
            if !api.lifecycle.may_fetch_crls() {
                return Err(Error::Unprocessable(vec![nothing_allowed()]));
            }
            GivenCrl { new: NewCrl::Address(url), stale, place: None }
        }
        body::UploadedCrl::Crl(mut body) => {
            let new = NewCrl::Upload(Arc::new(body.take()));
            GivenCrl { new, stale: stale_of_query(&uri)?, place: Some(body) }
        }
    };
    let crl = PathId::crl_of(uri.path()).ok_or_else(wrong_id)?;
    Ok((crl, given))
}

pub(crate) fn read_source(bytes: &[u8]) -> Result<(CrlUrl, Option<StalePolicy>), Error> {
    let mut it = Properties::read(bytes)?;
    it.require("url", RefusalCode::CrlUrlInvalid, URL_REMEDY);
    let url = it.text("url", RefusalCode::CrlUrlInvalid, URL_REMEDY, CrlUrl::parse);
    let stale = it.text("stale", RefusalCode::StalePolicyInvalid, STALE_REMEDY, |text| {
        StalePolicy::parse(text).ok_or("it is neither soft nor hard")
    });
    it.finish()?;
    // Without one there is a fault, which `finish` reports.
    Ok((url.ok_or(Error::Internal)?, stale))
}

fn stale_of_query(uri: &Uri) -> Result<Option<StalePolicy>, Error> {
    let query = ListQuery::read(uri)?;
    let mut given = query.values("stale");
    match (given.next().map(StalePolicy::parse), given.next()) {
        (None, _) => Ok(None),
        (Some(Some(stale)), None) => Ok(Some(stale)),
        _ => Err(wrong_stale()),
    }
}

const URL_REMEDY: &str = "Give one like http://pki.example.com/meters.crl, without user name and fragment.";
const STALE_REMEDY: &str = "Give it once, as soft or hard.";

fn wrong_stale() -> Error {
    let message = "stale is neither soft nor hard, or given twice.";
    let detail = Detail::property(RefusalCode::StalePolicyInvalid, "stale", message, STALE_REMEDY);
    Error::Unprocessable(vec![detail])
}

pub(crate) fn wrong_id() -> Error {
    let message = "The CRL's id in the path is wrong.";
    let remedy = "Use 1 to 63 of a-z, 0-9 and '-', not '-' as the first.";
    Error::Unprocessable(vec![Detail::property(RefusalCode::CrlIdInvalid, "crl", message, remedy)])
}

pub(crate) fn nothing_allowed() -> Detail {
    Detail::property(
        RefusalCode::CrlAllowEmpty,
        "url",
        "CRLs may be fetched from nowhere: crl_allow of the configuration is empty.",
        "Let the operator set crl_allow in [crl] of each node with the API, for example crl_allow = [\"192.0.2.0/24\"], or upload the CRL.",
    )
}

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::{RevocationMatches, Revoked, RevokedEntry};
use certward_store::{Method, Scope};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    body::RevocationBody,
    new::{self, NewRevocationsBody},
};
use crate::{
    auth::Caller,
    close_rate,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, NodeIdText},
    page::ListQuery,
    path_id::PathId,
    silent_nodes,
};

/// Revocations that are on the deny-list now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AddedRevocations)]
pub(crate) struct AddedRevocationsBody {
    /// In the order of the request.
    #[schema(max_items = 1000)]
    revocations: Vec<AddedRevocationBody>,
    matches: MatchesBody,
    /// Whether devices are asked for certificates now. If not, the revocations take effect once the
    /// deployment is two-way.
    in_effect: bool,
    /// Nodes with a gateway that have not acknowledged the change within a second: there a client
    /// that it refuses may still be served. `*` for all but the one that answers.
    #[schema(value_type = Vec<NodeIdText>)]
    silent_nodes: Vec<String>,
}

/// A revocation that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AddedRevocation)]
pub(crate) struct AddedRevocationBody {
    #[serde(flatten)]
    revocation: RevocationBody,
    /// It was on the deny-list before, and stays as it was.
    existing: bool,
}

/// Whom revocations refuse, of those known before the change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RevocationMatches)]
pub(crate) struct MatchesBody {
    /// Known devices; counted up to 10,000.
    known: u64,
    /// Sessions that the change ends. One that several revocations find counts for each. Absent if
    /// no node has a gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connected: Option<u64>,
    /// Nodes that have not said how many sessions they have; `*` for all but the one that answers.
    #[schema(value_type = Vec<NodeIdText>)]
    not_counted: Vec<String>,
}

/// Adds up to 1,000 revocations to the deny-list: all or none, each once. Nodes refuse new
/// handshakes and resumption at once, and close the sessions; other devices and their tickets are
/// not concerned. It is no version: certificate and status stay. 201 if one is new, else 200. A
/// body of up to 4 MiB. Counted on its own.
#[utoipa::path(post, path = "/deployments/{id}/tls/revocations", tag = "revocation", operation_id = "addRevocations",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("closeRate" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "How many sessions are closed in a second, over all nodes; all at once when absent. New handshakes are refused at once all the same.")),
    request_body = NewRevocationsBody,
    responses((status = 201, description = "Added; durable.", body = AddedRevocationsBody),
        (status = 200, description = "All were there before.", body = AddedRevocationsBody)))]
pub(crate) async fn add(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    request: Request,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    let subject = format!("{}/tls/revocations", deployment.id);
    api.limited(&caller, &subject, Method::Revocation, async {
        let uri = request.uri().clone();
        let new = new::read(&api.revocations_body(request).await?)?;
        let rate = close_rate::read(&ListQuery::read(&uri)?)?;
        api.require_still(&caller, Scope::Tls, &deployment).await?;
        let reference = deployment.reference();
        let revoked = api.lifecycle.revoke(caller.requester(), &reference, &new, rate).await;
        if revoked.is_err() {
            // The error reveals which devices are known.
            api.require_still(&caller, Scope::Tls, &deployment).await?;
        }
        let Revoked { entries, generation, matches, has_effect } = revoked?;
        let silent = silent_nodes::without(&api.lifecycle, &reference.id, generation).await;
        let status = match entries.iter().any(|entry| entry.is_new) {
            true => StatusCode::CREATED,
            false => StatusCode::OK,
        };
        let body = AddedRevocationsBody {
            revocations: entries.into_iter().map(AddedRevocationBody::from).collect(),
            matches: matches.into(),
            in_effect: has_effect,
            silent_nodes: silent,
        };
        Ok((status, Json(body)).into_response())
    })
    .await
}

impl From<RevokedEntry> for AddedRevocationBody {
    fn from(RevokedEntry { revocation, is_new }: RevokedEntry) -> Self {
        Self { revocation: revocation.into(), existing: !is_new }
    }
}

impl From<RevocationMatches> for MatchesBody {
    fn from(RevocationMatches { known, connected }: RevocationMatches) -> Self {
        let not_counted =
            connected.as_ref().map(|connected| silent_nodes::named(&connected.silent)).unwrap_or_default();
        Self { known, connected: connected.map(|connected| connected.by_key.iter().sum()), not_counted }
    }
}

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{ClientCaView, ClientCasOfDeployment};
use certward_store::{Method, Scope, Timestamp};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{CertificateNameText, DeploymentIdText, FingerprintText, SerialText, UtcTimeText},
    path_id::PathId,
    silent_nodes, wire_time,
};

/// A client CA of the newest upload, and the devices that it admits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TrustedClientCa)]
pub(crate) struct ClientCaBody {
    #[schema(value_type = FingerprintText)]
    fingerprint: String,
    #[schema(value_type = CertificateNameText)]
    subject: String,
    #[schema(value_type = SerialText)]
    serial: String,
    /// Its notBefore, UTC.
    #[schema(value_type = UtcTimeText)]
    not_before: String,
    /// Its notAfter, UTC.
    #[schema(value_type = UtcTimeText)]
    not_after: String,
    /// The fingerprints of other certificates of the same CA in the list, with its name and key: it
    /// was renewed. Each admits the same devices, and has the same counts. Absent when none.
    #[serde(rename = "sameCA", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FingerprintText>, max_items = 100, required = false)]
    same_ca: Vec<String>,
    admitted: AdmittedBody,
    /// Sessions now of devices that it admits.
    #[schema(minimum = 0)]
    connected: u64,
    /// When a device of it was last seen, of those recorded; updated once an hour at most, UTC.
    /// Absent when none was in 90 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    last_seen_at: Option<String>,
}

/// Device certificates that it admitted, of those recorded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdmittedDevices)]
pub(crate) struct AdmittedBody {
    #[schema(minimum = 0)]
    last_day: u64,
    #[serde(rename = "last7Days")]
    #[schema(minimum = 0)]
    last_7_days: u64,
    #[serde(rename = "last30Days")]
    #[schema(minimum = 0)]
    last_30_days: u64,
}

/// The client CAs of the newest upload, in its order, and who uses each; empty for one-way. Counted
/// on its own. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/tls/client-cas", tag = "tls", operation_id = "listClientCAs",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id.")),
    responses((status = 200, description = "A bare array.", body = [ClientCaBody],
        headers(("Certward-Silent-Nodes" = Option<String>, description = "The nodes with a gateway whose sessions \
            are not counted, for they have not answered, separated by commas; `*` for all but the one that answers. \
            Absent if none is missing."),
            ("Certward-Anonymous-Nodes" = Option<String>, description = "The nodes whose `devices` is not `full`: the \
            devices that they admit are not recorded. Absent if there is none.")))))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller, id: PathId) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    let subject = format!("{}/tls/client-cas", deployment.id);
    api.limited(&caller, &subject, Method::Neighbours, async {
        let listed = api.lifecycle.client_cas(&caller.key, &deployment.reference()).await?;
        let ClientCasOfDeployment { client_cas, anonymous, silent } = listed;
        let mut headers = HeaderMap::new();
        silent_nodes::add_header(&mut headers, &silent);
        silent_nodes::add_anonymous_header(&mut headers, &anonymous);
        let bodies: Vec<_> = client_cas.into_iter().map(ClientCaBody::from).collect();
        Ok((headers, Json(bodies)).into_response())
    })
    .await
}

impl From<ClientCaView> for ClientCaBody {
    fn from(view: ClientCaView) -> Self {
        let shown = |at: Timestamp| wire_time::to_the_second(at.to_time());
        let [last_day, last_7_days, last_30_days] = view.admitted;
        Self {
            fingerprint: view.fingerprint,
            subject: view.subject,
            serial: view.serial,
            not_before: shown(view.not_before),
            not_after: shown(view.not_after),
            same_ca: view.same_ca,
            admitted: AdmittedBody { last_day, last_7_days, last_30_days },
            connected: view.connected,
            last_seen_at: view.last_seen_at.map(shown),
        }
    }
}

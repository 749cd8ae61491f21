use std::collections::HashSet;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::{ConnectedDevices, Lifecycle, SilentNodes};
use certward_pki::DeviceId;
use certward_store::{DeploymentId, Method, Scope, SeenDevice, StoreError, Timestamp};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    auth::Caller,
    context::{Context, Shared},
    error::Error,
    openapi::vocabulary::{
        AddressText, CertificateNameText, DeploymentIdText, DeviceIdText, FingerprintText, HostText,
        SerialText, TlsVersionText, UtcTimeText,
    },
    page::{AFTER_FAULT, ListQuery},
    path_id::PathId,
    silent_nodes, wire_time,
};

/// A device with a client certificate whose broker answered it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Device)]
pub(crate) struct DeviceBody {
    /// The same for every certificate of the same issuer, serial number and public key.
    #[schema(value_type = DeviceIdText)]
    id: String,
    /// The name that the broker receives, else the certificate's subject. At most 160 characters.
    #[schema(value_type = CertificateNameText)]
    name: String,
    #[schema(value_type = CertificateNameText)]
    issuer: String,
    #[schema(value_type = SerialText)]
    serial: String,
    #[schema(value_type = FingerprintText)]
    fingerprint: String,
    /// The fingerprint of the client CA that admitted it.
    #[serde(rename = "clientCA")]
    #[schema(value_type = FingerprintText)]
    client_ca: String,
    /// The end of its certificate, UTC.
    #[schema(value_type = UtcTimeText)]
    not_after: String,
    #[schema(value_type = UtcTimeText)]
    first_seen_at: String,
    /// Updated once an hour at most, UTC.
    #[schema(value_type = UtcTimeText)]
    last_seen_at: String,
    /// The deployment's host that it asked for last; absent if it asked for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<HostText>)]
    host: Option<String>,
    #[schema(value_type = TlsVersionText)]
    tls_version: String,
    /// Whether it has a session now, through a node that has answered; absent where that is not
    /// known, for `devices` of a node is not `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    connected: Option<bool>,
    /// The address that it came from last; kept for 7 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<AddressText>)]
    address: Option<String>,
}

/// The devices with a client certificate whose broker answered them in the last 90 days, by id.
/// Counted on its own. Needs scope `tls:read`.
#[utoipa::path(get, path = "/deployments/{id}/devices", tag = "devices", operation_id = "listDevices",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most; 100 when absent."),
        ("after" = Option<String>, Query, pattern = "^[0-9a-f]{32}$", max_length = 32, description = "From the `Link` header of the page before.")),
    responses((status = 200, description = "A bare array; `Link` with `rel=\"next\"` leads to more.", body = [DeviceBody],
        headers(("Certward-Silent-Nodes" = Option<String>, description = "The nodes with a gateway that have not \
            answered whether devices are connected, separated by commas; `*` for all but the one that answers. Absent \
            if none is missing.")))))]
pub(crate) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::TlsRead), &id).await?;
    let subject = format!("{}/devices", deployment.id);
    api.limited(&caller, &subject, Method::Pages, page(&api, &deployment.id, &uri)).await
}

async fn page(api: &Context, deployment: &DeploymentId, uri: &Uri) -> Result<Response, Error> {
    let query = ListQuery::read(uri)?;
    let limit = query.limit()?;
    let after = query.parameter("after", AFTER_FAULT, DeviceId::parse)?;
    let devices = api.lifecycle.store().read().devices(deployment, after, limit).await?;
    let ConnectedDevices { connected, is_partial, silent } =
        connected(&api.lifecycle, deployment, &devices).await?;
    let next = devices.last().filter(|_| devices.len() == limit as usize);
    let mut headers = next.map(|last| query.next_after(&last.id.to_string())).unwrap_or_default();
    silent_nodes::add_header(&mut headers, &silent);
    let bodies: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let connected = match connected.contains(&device.id) {
                false if is_partial => None,
                known => Some(known),
            };
            DeviceBody::of(device, connected)
        })
        .collect();
    Ok((headers, Json(bodies)).into_response())
}

/// Which of them have a session now; no node is asked of none.
async fn connected(
    lifecycle: &Lifecycle,
    deployment: &DeploymentId,
    devices: &[SeenDevice],
) -> Result<ConnectedDevices, StoreError> {
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let found = if ids.is_empty() { None } else { lifecycle.connected_devices(deployment, &ids).await? };
    Ok(found.unwrap_or_else(|| ConnectedDevices {
        connected: HashSet::new(),
        is_partial: false,
        silent: SilentNodes::These(Vec::new()),
    }))
}

impl DeviceBody {
    pub(crate) fn of(device: SeenDevice, connected: Option<bool>) -> Self {
        let shown = |at: Timestamp| wire_time::to_the_second(at.to_time());
        Self {
            id: device.id.to_string(),
            name: device.name,
            issuer: device.issuer,
            serial: device.serial,
            fingerprint: device.fingerprint,
            client_ca: device.client_ca,
            not_after: shown(device.not_after),
            first_seen_at: shown(device.first_seen_at),
            last_seen_at: shown(device.last_seen_at),
            host: device.host,
            tls_version: device.tls_version,
            connected,
            address: device.address.map(|address| address.to_string()),
        }
    }
}

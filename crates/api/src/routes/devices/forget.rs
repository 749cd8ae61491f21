use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use certward_lifecycle::DeviceError;
use certward_store::Scope;
use http::{StatusCode, Uri};

use crate::{
    auth::Caller,
    context::Shared,
    error::Error,
    openapi::vocabulary::{DeploymentIdText, DeviceIdText},
    path_id::PathId,
};

/// Forgets a device with all that is kept of it. One that is connected, or connects again, is
/// recorded again within an hour, by nodes whose `devices` is `full`: remove its access and close
/// its sessions first. Needs scope `tls`.
#[utoipa::path(delete, path = "/deployments/{id}/devices/{device}", tag = "devices", operation_id = "forgetDevice",
    params(("id" = DeploymentIdText, Path, description = "The deployment's id."),
        ("device" = DeviceIdText, Path, description = "The device's id.")),
    responses((status = 204, description = "Forgotten.")))]
pub(crate) async fn forget(
    State(api): State<Shared>,
    caller: Caller,
    id: PathId,
    uri: Uri,
) -> Result<Response, Error> {
    let deployment = api.deployment(&caller, Some(Scope::Tls), &id).await?;
    let device = PathId::device_of(uri.path()).ok_or(DeviceError::NotFound)?;
    api.lifecycle.forget_device(caller.requester(), &deployment.reference(), device).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

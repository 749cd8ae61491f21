use axum::{Json, extract::State};
use certward_store::{ApiKeyRecord, Scope};

use super::body::KeyBody;
use crate::{auth::Caller, context::Shared, error::Error};

/// The API keys, oldest first, without their secrets. A key limited to projects sees only those
/// limited to some of its own. Needs scope `admin`.
#[utoipa::path(get, path = "/keys", tag = "keys", operation_id = "listKeys",
    responses((status = 200, description = "A bare array.", body = [KeyBody])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Json<Vec<KeyBody>>, Error> {
    caller.require(Scope::Admin)?;
    let keys = api.lifecycle.store().read().api_keys().await?;
    Ok(Json(keys.iter().filter(|key| reaches(&caller, key)).map(KeyBody::from).collect()))
}

fn reaches(caller: &Caller, key: &ApiKeyRecord) -> bool {
    match (&caller.projects, &key.projects) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(projects)) => projects.iter().all(|project| caller.sees(project)),
    }
}

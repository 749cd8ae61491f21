use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use certward_lifecycle::NewKey;
use certward_store::Scope;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::KeyBody;
use crate::{
    auth::Caller,
    body,
    context::Shared,
    error::Error,
    openapi::vocabulary::{GivenTimeText, LabelText, ProjectIdText, ScopeWord, SecretKeyText},
    property::Properties,
};

/// An API key to make.
#[derive(ToSchema)]
#[schema(as = NewKey)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewKeyBody {
    /// For people; at most 200 characters.
    #[schema(value_type = LabelText)]
    name: String,
    #[schema(value_type = Vec<ScopeWord>, min_items = 1, max_items = 4)]
    scopes: Vec<String>,
    /// The projects it is to see; absent: all.
    #[schema(value_type = Option<Vec<ProjectIdText>>, min_items = 1, max_items = 1000)]
    projects: Option<Vec<String>>,
    /// From when on it is refused: RFC 3339, or `YYYY-MM-DD HH:MM:SS` in UTC; absent: it does not
    /// end.
    #[schema(rename = "expiresAt", value_type = Option<GivenTimeText>)]
    expires_at: Option<String>,
}

/// A new API key with its secret, which is shown here and never again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewKeyWithSecret)]
pub(crate) struct NewKeyAnswer<'a> {
    #[serde(flatten)]
    key: KeyBody,
    /// The password of HTTP Basic.
    #[schema(value_type = SecretKeyText)]
    secret_key: &'a str,
}

/// Makes an API key. It can have only scopes and projects that the asking key has itself, and ends
/// no later (403). Needs scope `admin`.
#[utoipa::path(post, path = "/keys", tag = "keys", operation_id = "createKey",
    request_body = NewKeyBody,
    responses((status = 201, description = "Made; the secret is shown once.", body = NewKeyAnswer)))]
pub(crate) async fn create(
    State(api): State<Shared>,
    caller: Caller,
    request: Request,
) -> Result<Response, Error> {
    caller.require(Scope::Admin)?;
    let mut it = Properties::read(&body::read(request, api.settings.deadlines.body).await?)?;
    let name = it.required_name("name").unwrap_or_default();
    let scopes = it.scopes("scopes");
    let projects = it.projects("projects");
    let expires_at = it.time("expiresAt");
    it.finish()?;
    let new = NewKey { name: &name, scopes: &scopes, projects: projects.as_deref(), expires_at };
    let (key, secret) = api.lifecycle.create_key(caller.requester(), &new).await?;
    let answer = NewKeyAnswer { key: KeyBody::from(&key), secret_key: secret.expose() };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

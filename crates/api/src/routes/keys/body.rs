use crate::{
    openapi::vocabulary::{ApiKeyText, LabelText, ProjectIdText, ScopeWord, UtcMinuteText, UtcTimeText},
    wire_time,
};
use certward_store::{ApiKeyRecord, ProjectId};
use serde::Serialize;
use utoipa::ToSchema;

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(crate) struct KeyBody {
    /// The public half: the user name of HTTP Basic.
    #[schema(value_type = ApiKeyText)]
    api_key: String,
    /// For people.
    #[schema(value_type = LabelText)]
    name: String,
    #[schema(value_type = Vec<ScopeWord>, min_items = 1, max_items = 4)]
    scopes: Vec<&'static str>,
    /// The projects it sees; absent: all. Empty once they are removed: it sees nothing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<ProjectIdText>>, max_items = 1000)]
    projects: Option<Vec<String>>,
    /// When it was made, UTC.
    #[schema(value_type = UtcMinuteText)]
    create_at: String,
    /// From when on it is refused, UTC; absent: it does not end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<UtcTimeText>)]
    expires_at: Option<String>,
}

impl From<&ApiKeyRecord> for KeyBody {
    fn from(key: &ApiKeyRecord) -> Self {
        let texts = |projects: &Vec<ProjectId>| projects.iter().map(ToString::to_string).collect();
        Self {
            api_key: key.key.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
            projects: key.projects.as_ref().map(texts),
            create_at: wire_time::to_the_minute(key.created_at),
            expires_at: key.expires_at.map(|end| wire_time::to_the_second(end.to_time())),
        }
    }
}

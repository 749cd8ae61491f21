//! The deployments, sent in pieces: a list of a million needs no more memory than a short one.

use std::{collections::VecDeque, future::ready};

use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use certward_store::{DeploymentId, Method, Project};
use futures_util::stream::{StreamExt, once, try_unfold};
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::DeploymentBody;
use crate::{auth::Caller, context::Shared, error::Error, openapi::vocabulary::LabelText};

/// Deployments per piece; shorter lists are sent as a whole.
const PIECE_DEPLOYMENTS_MAX: u32 = 500;

/// A deployment as it stands in the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedDeployment)]
pub(crate) struct ListedDeployment {
    #[serde(flatten)]
    deployment: DeploymentBody,
    /// The name of its project.
    #[serde(rename = "projectName")]
    #[schema(value_type = LabelText)]
    project_name: String,
    /// Always `v5`.
    #[schema(example = "v5", pattern = "^v5$")]
    version: &'static str,
}

/// The deployments that the key sees, by project and id. Any scope.
///
/// A long list is sent in pieces, each as it stands when it is read: if the store fails between two
/// of them, the connection is broken off, so that what came is no JSON.
#[utoipa::path(get, path = "/deployments", tag = "deployments", operation_id = "listDeployments",
    responses((status = 200, description = "A bare array.", body = [ListedDeployment])))]
pub(crate) async fn list(State(api): State<Shared>, caller: Caller) -> Result<Response, Error> {
    api.limited(&caller, "/deployments", Method::Neighbours, async {
        let mut projects = api.lifecycle.store().read().projects().await?;
        projects.retain(|project| caller.sees(&project.id));
        let mut listing =
            Listing { api: Shared::clone(&api), projects: projects.into(), after: None, begun: false };
        let first = listing.piece().await?;
        let body = if listing.is_over() {
            Body::from(first)
        } else {
            Body::from_stream(once(ready(Ok(first))).chain(try_unfold(listing, Listing::go_on)))
        };
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    })
    .await
}

/// The unsent rest of the list.
struct Listing {
    api: Shared,
    projects: VecDeque<Project>,
    /// The last one sent of the first project.
    after: Option<DeploymentId>,
    begun: bool,
}

impl Listing {
    fn is_over(&self) -> bool {
        self.projects.is_empty()
    }

    /// The next piece; the last one if the listing is over afterwards.
    async fn piece(&mut self) -> Result<Bytes, Error> {
        let (mut text, mut left) = (Vec::new(), PIECE_DEPLOYMENTS_MAX);
        while let (Some(project), 1..) = (self.projects.front(), left) {
            let store = self.api.lifecycle.store();
            let found = store.read().deployments_of(&project.id, self.after.as_ref(), left).await?;
            left = left.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            let uploads = self.api.uploads(&project.id, &found).await?;
            let mut troubles = self.api.broker_troubles(&project.id, &found).await?;
            self.after = found.last().map(|deployment| deployment.id.clone());
            for deployment in found {
                text.push(if self.begun { b',' } else { b'[' });
                self.begun = true;
                let upload = uploads.get(&deployment.id);
                let troubles = troubles.remove(&deployment.id).unwrap_or_default();
                let body = self.api.deployment_body(deployment, upload, troubles);
                let listed = ListedDeployment::new(project, body);
                serde_json::to_writer(&mut text, &listed).map_err(|_| Error::Internal)?;
            }
            if left > 0 {
                self.projects.pop_front();
                self.after = None;
            }
        }
        if self.is_over() {
            text.extend(if self.begun { &b"]"[..] } else { b"[]" });
        }
        Ok(text.into())
    }

    async fn go_on(mut self) -> Result<Option<(Bytes, Self)>, BoxError> {
        if self.is_over() {
            return Ok(None);
        }
        match self.piece().await {
            Ok(piece) => Ok(Some((piece, self))),
            Err(error) => {
                tracing::warn!(?error, "a list of deployments ends early; the connection is closed");
                Err("broken off".into())
            }
        }
    }
}

impl ListedDeployment {
    fn new(project: &Project, deployment: DeploymentBody) -> Self {
        Self { project_name: project.name.clone(), version: "v5", deployment }
    }
}

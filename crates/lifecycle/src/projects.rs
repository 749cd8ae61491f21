use certward_store::{
    AuditEntry, AuditOrigin, Boundary, HostSuffix, Project, ProjectId, Scope, StoreError, SuffixRefused,
    UpstreamAllow,
};
use thiserror::Error;

use crate::{Denied, Lifecycle, Requester, acting::Acting};

/// Changes of a project; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub struct ProjectChange {
    /// Display name.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Allowed upstreams; `Some(None)` removes the restriction.
    pub upstream_allow: Option<Option<UpstreamAllow>>,
    /// Reserved host suffixes; an empty list removes them.
    pub host_suffixes: Option<Vec<HostSuffix>>,
}

/// Why a project was not created, changed or removed.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The id is taken.
    #[error("a project of this id exists")]
    Exists,
    /// No such project.
    #[error("the project does not exist")]
    NotFound,
    /// It has deployments.
    #[error("the project has {0} deployments")]
    NotEmpty(u64),
    /// `default` cannot be removed.
    #[error("the default project cannot be removed")]
    Default,
    /// The key is limited, and could not see a new project.
    #[error("the key does not see all projects")]
    LimitedKey,
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Another project's suffix overlaps.
    #[error("the host suffix {0} overlaps with one of another project")]
    SuffixTaken(HostSuffix),
    /// Hosts would violate the suffixes.
    #[error("{outside} hosts of the project are outside of its suffixes, {of_others} of others are inside")]
    SuffixInUse {
        /// Its hosts under none of them.
        outside: u64,
        /// Others' hosts under, or covering, one.
        of_others: u64,
    },
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SuffixRefused> for ProjectError {
    fn from(refused: SuffixRefused) -> Self {
        match refused {
            SuffixRefused::Taken(suffix) => Self::SuffixTaken(suffix),
            SuffixRefused::InUse { outside, of_others } => Self::SuffixInUse { outside, of_others },
        }
    }
}

impl Lifecycle {
    /// Creates a project; draws the id if absent.
    pub async fn create_project<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        id: Option<ProjectId>,
        name: String,
        description: String,
        boundary: Boundary,
    ) -> Result<Project, ProjectError> {
        let Acting { mut tx, actor, origin } = self.begin_as(actor.into(), Scope::Admin).await?;
        if actor.projects.is_some() {
            return Err(ProjectError::LimitedKey);
        }
        let id = id.unwrap_or_else(|| self.drawn_text(|text| ProjectId::parse(text).ok()));
        let project = Project { id, name, description, created_at: tx.now(), boundary };
        if !tx.insert_project(&project).await? {
            return Err(ProjectError::Exists);
        }
        if project.boundary != Boundary::default() {
            tx.set_boundary(&project.id, &project.boundary).await??;
        }
        tx.audit(entry(origin, "project.create", &project.id, said(&project.boundary)));
        tx.commit().await?;
        Ok(project)
    }

    /// Changes a project. A boundary applies to later claims and dials; existing hosts must fit.
    /// Live connections stay.
    pub async fn change_project<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        id: &ProjectId,
        change: ProjectChange,
    ) -> Result<Project, ProjectError> {
        let Acting { mut tx, actor, origin } = self.begin_as(actor.into(), Scope::Admin).await?;
        let before = tx.project_to_change(id).await?.filter(|_| actor.sees(id));
        let before = before.ok_or(ProjectError::NotFound)?;
        let after = change.applied_to(before.clone());
        if after == before {
            return Ok(before);
        }
        if after.boundary != before.boundary && actor.projects.is_some() {
            return Err(ProjectError::LimitedKey);
        }
        tx.set_project_texts(&after).await?;
        if after.boundary != before.boundary {
            tx.set_boundary(id, &after.boundary).await??;
        }
        tx.audit(entry(origin, "project.change", id, said(&after.boundary)));
        tx.commit().await?;
        Ok(after)
    }

    /// Removes an empty project; its suffixes become free.
    pub async fn remove_project<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        id: &ProjectId,
    ) -> Result<(), ProjectError> {
        // Keys limited to the project are affected.
        let Acting { mut tx, actor, origin } = self.begin_on_keys_as(actor.into()).await?;
        if tx.project_to_remove(id).await?.is_none() || !actor.sees(id) {
            return Err(ProjectError::NotFound);
        }
        if *id == ProjectId::default_project() {
            return Err(ProjectError::Default);
        }
        match tx.deployments_in(id).await? {
            0 => {}
            count => return Err(ProjectError::NotEmpty(count)),
        }
        tx.remove_project(id).await?;
        tx.audit(entry(origin, "project.remove", id, String::new()));
        Ok(tx.commit().await?)
    }
}

impl ProjectChange {
    fn applied_to(self, mut project: Project) -> Project {
        if let Some(name) = self.name {
            project.name = name;
        }
        if let Some(description) = self.description {
            project.description = description;
        }
        if let Some(upstream_allow) = self.upstream_allow {
            project.boundary.upstream_allow = upstream_allow;
        }
        if let Some(host_suffixes) = self.host_suffixes {
            project.boundary.host_suffixes = host_suffixes;
        }
        project
    }
}

fn entry(origin: AuditOrigin, action: &'static str, id: &ProjectId, detail: String) -> AuditEntry {
    AuditEntry { detail, project: Some(id.clone()), ..AuditEntry::new(origin, action, id.as_str()) }
}

fn said(boundary: &Boundary) -> String {
    let allow = boundary.upstream_allow.as_ref().map_or_else(|| "any".to_owned(), ToString::to_string);
    let suffixes: Vec<&str> = boundary.host_suffixes.iter().map(HostSuffix::as_str).collect();
    let suffixes = if suffixes.is_empty() { "none".to_owned() } else { suffixes.join(",") };
    format!("upstreamAllow {allow}, hostSuffixes {suffixes}")
}

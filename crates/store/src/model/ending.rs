use sqlx::any::AnyRow;

use crate::{DeploymentId, EndingKind, ProjectId, StoreError, Timestamp, engine::row};

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Its kind.
    pub kind: EndingKind,
    /// The fingerprint of the certificate or CRL, or the API key.
    pub item: String,
    /// The certificate's subject, the CRL's issuer, or the API key's name.
    pub subject: String,
    /// notBefore, thisUpdate, or the creation.
    pub begins_at: Timestamp,
    /// notAfter, nextUpdate, or the end.
    pub ends_at: Timestamp,
}

/// An [`Ending`] in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEnding {
    /// Its number, unique.
    pub number: i64,
    /// The deployment's id, the API key or the node's id, by kind.
    pub owner: String,
    /// `None`: the operator's.
    pub project: Option<ProjectId>,
    /// What ends.
    pub ending: Ending,
}

/// The owners of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingOwners {
    /// The first 20.
    pub named: Vec<String>,
    /// All, counted up to 1,000.
    pub count: u64,
}

impl ListedEnding {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            number: row::integer(row, "number")?,
            owner: row::text(row, "owner")?,
            project: project(row)?,
            ending: Ending {
                kind: kind(row)?,
                item: row::text(row, "item")?,
                subject: row::text(row, "subject")?,
                begins_at: Timestamp(row::integer(row, "begins_at")?),
                ends_at: Timestamp(row::integer(row, "ends_at")?),
            },
        })
    }

    /// The deployment, for its kinds.
    pub fn deployment(&self) -> Option<DeploymentId> {
        let is_deployments = EndingKind::OF_DEPLOYMENTS.contains(&self.ending.kind);
        is_deployments.then(|| DeploymentId::parse(&self.owner).ok()).flatten()
    }
}

pub(crate) fn kind(row: &AnyRow) -> Result<EndingKind, StoreError> {
    EndingKind::parse(&row::text(row, "kind")?).ok_or_else(|| row::unreadable("kind"))
}

/// Empty: none.
pub(crate) fn project(row: &AnyRow) -> Result<Option<ProjectId>, StoreError> {
    match row::text(row, "project")?.as_str() {
        "" => Ok(None),
        id => ProjectId::parse(id).map(Some).map_err(|_| row::unreadable("project")),
    }
}

pub(crate) fn project_text(project: Option<&ProjectId>) -> &str {
    project.map_or("", ProjectId::as_str)
}

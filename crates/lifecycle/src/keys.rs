use certward_store::{ApiKey, ApiKeyRecord, ApiSecret, AuditEntry, ProjectId, Scope, Store, StoreError, Tx};
use thiserror::Error;

use crate::{Denied, Lifecycle, acting::Acting};

/// Why no key was created or revoked.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A key grants only its own scopes and projects.
    #[error("the key does not have what it would grant")]
    GrantsMore,
    /// No such project, or not visible.
    #[error("the project {0} does not exist")]
    NoProject(ProjectId),
    /// No such key.
    #[error("the key does not exist")]
    NotFound,
    /// The last unrestricted admin key.
    #[error("it is the last admin key")]
    LastAdmin,
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed; the change may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lifecycle {
    /// Creates a key. The secret is not shown again.
    pub async fn create_key(
        &self,
        actor: &ApiKey,
        name: &str,
        scopes: &[Scope],
        projects: Option<&[ProjectId]>,
    ) -> Result<(ApiKeyRecord, ApiSecret), KeyError> {
        let Acting { mut tx, actor } = self.begin_on_keys_as(actor).await?;
        let more_reach = projects.is_none() && actor.projects.is_some();
        if more_reach || !scopes.iter().all(|scope| actor.may(*scope)) {
            return Err(KeyError::GrantsMore);
        }
        for project in projects.unwrap_or_default() {
            if tx.project(project).await?.is_none() || !actor.sees(project) {
                return Err(KeyError::NoProject(project.clone()));
            }
        }
        let made = insert(&mut tx, actor.key.as_str(), name, scopes, projects).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Creates an admin key for `init`, which has access to the files.
    pub async fn create_first_key(store: &Store) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
        let mut tx = store.begin().await?;
        let made = insert(&mut tx, "certward", "admin", &[Scope::Admin], None).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Revokes a key. Keys outside the actor's projects are not found.
    pub async fn revoke_key(&self, actor: &ApiKey, key: &ApiKey) -> Result<(), KeyError> {
        let Acting { mut tx, actor } = self.begin_on_keys_as(actor).await?;
        let admins = tx.admin_keys().await?;
        let found =
            tx.api_key(key).await?.filter(|found| reaches(&actor, found)).ok_or(KeyError::NotFound)?;
        if admins <= 1 && is_admin(&found) {
            return Err(KeyError::LastAdmin);
        }
        tx.remove_api_key(key).await?;
        tx.audit(entry(actor.key.as_str(), "key.revoke", &found)).await?;
        Ok(tx.commit().await?)
    }
}

async fn insert(
    tx: &mut Tx,
    actor: &str,
    name: &str,
    scopes: &[Scope],
    projects: Option<&[ProjectId]>,
) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
    let made = tx.insert_api_key(name, scopes, projects).await?;
    tx.audit(entry(actor, "key.create", &made.0)).await?;
    Ok(made)
}

fn is_admin(key: &ApiKeyRecord) -> bool {
    key.may(Scope::Admin) && key.projects.is_none()
}

fn reaches(actor: &ApiKeyRecord, key: &ApiKeyRecord) -> bool {
    match (&actor.projects, &key.projects) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(projects)) => projects.iter().all(|project| actor.sees(project)),
    }
}

fn entry(actor: &str, action: &'static str, key: &ApiKeyRecord) -> AuditEntry {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    AuditEntry { actor: actor.to_owned(), action, subject: key.key.to_string(), detail: scopes.join(" ") }
}

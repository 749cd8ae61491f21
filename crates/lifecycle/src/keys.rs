use certward_store::{
    ApiKey, ApiKeyRecord, ApiSecret, AuditEntry, AuditOrigin, EndingKind, EndingOwner, ProjectId, Scope,
    Store, StoreError, Timestamp, Tx,
};
use thiserror::Error;

use crate::{Denied, ExpiryRules, Lifecycle, Lifetime, Requester, acting::Acting, expiry::listing};

/// An API key to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey<'a> {
    /// For people.
    pub name: &'a str,
    /// Its scopes.
    pub scopes: &'a [Scope],
    /// The projects that it sees; `None`: all.
    pub projects: Option<&'a [ProjectId]>,
    /// From then on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl<'a> NewKey<'a> {
    /// One that does not end.
    pub fn new(name: &'a str, scopes: &'a [Scope], projects: Option<&'a [ProjectId]>) -> Self {
        Self { name, scopes, projects, expires_at: None }
    }
}

/// Why no key was created or revoked.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A key grants only its own scopes and projects, and none longer than itself.
    #[error("the key does not have what it would grant")]
    GrantsMore,
    /// `expires_at` is not in the future.
    #[error("the key would end in the past")]
    EndsInThePast,
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
    pub async fn create_key<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        new: &NewKey<'_>,
    ) -> Result<(ApiKeyRecord, ApiSecret), KeyError> {
        let Acting { mut tx, actor, origin } = self.begin_on_keys_as(actor.into()).await?;
        let more_reach = new.projects.is_none() && actor.projects.is_some();
        let longer = actor.expires_at.is_some_and(|end| new.expires_at.is_none_or(|wanted| wanted > end));
        if more_reach || longer || !new.scopes.iter().all(|scope| actor.may(*scope)) {
            return Err(KeyError::GrantsMore);
        }
        if new.expires_at.is_some_and(|end| end <= tx.now()) {
            return Err(KeyError::EndsInThePast);
        }
        for project in new.projects.unwrap_or_default() {
            if tx.project(project).await?.is_none() || !actor.sees(project) {
                return Err(KeyError::NoProject(project.clone()));
            }
        }
        let made = insert(&mut tx, origin, new).await?;
        list(&mut tx, &self.settings.expiry_rules, &made.0).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Creates an admin key for `init`, which has access to the files.
    pub async fn create_first_key(store: &Store) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
        let mut tx = store.begin().await?;
        let made =
            insert(&mut tx, AuditOrigin::certward(), &NewKey::new("admin", &[Scope::Admin], None)).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Revokes a key. Keys outside the actor's projects are not found.
    pub async fn revoke_key<'a>(
        &self,
        actor: impl Into<Requester<'a>>,
        key: &ApiKey,
    ) -> Result<(), KeyError> {
        let Acting { mut tx, actor, origin } = self.begin_on_keys_as(actor.into()).await?;
        let admins = tx.admin_keys().await?;
        let found =
            tx.api_key(key).await?.filter(|found| reaches(&actor, found)).ok_or(KeyError::NotFound)?;
        if admins <= 1 && is_admin(&found) {
            return Err(KeyError::LastAdmin);
        }
        tx.remove_api_key(key).await?;
        tx.audit(entry(origin, "key.revoke", &found));
        Ok(tx.commit().await?)
    }
}

async fn insert(
    tx: &mut Tx,
    origin: AuditOrigin,
    new: &NewKey<'_>,
) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
    let made = tx.insert_api_key(new.name, new.scopes, new.projects, new.expires_at).await?;
    tx.audit(entry(origin, "key.create", &made.0));
    Ok(made)
}

/// Lists its end, if it has one.
async fn list(tx: &mut Tx, rules: &ExpiryRules, key: &ApiKeyRecord) -> Result<(), StoreError> {
    let Some(ending) = listing::of_key(key) else { return Ok(()) };
    let only = key.projects.as_ref().filter(|projects| projects.len() == 1);
    let owner = EndingOwner::api_key(&key.key, only.map(|projects| projects[0].clone()));
    let due = rules.first(EndingKind::ApiKey, Lifetime::of(&ending), tx.now());
    tx.set_endings(&owner, &[(ending, due)]).await
}

/// One that ends is none that stays.
fn is_admin(key: &ApiKeyRecord) -> bool {
    key.may(Scope::Admin) && key.projects.is_none() && key.expires_at.is_none()
}

fn reaches(actor: &ApiKeyRecord, key: &ApiKeyRecord) -> bool {
    match (&actor.projects, &key.projects) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(projects)) => projects.iter().all(|project| actor.sees(project)),
    }
}

fn entry(origin: AuditOrigin, action: &'static str, key: &ApiKeyRecord) -> AuditEntry {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    AuditEntry { detail: scopes.join(" "), ..AuditEntry::new(origin, action, key.key.as_str()) }
}

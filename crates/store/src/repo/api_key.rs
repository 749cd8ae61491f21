use std::{fmt, sync::Arc};

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, any::AnyRow};
use zeroize::Zeroizing;

use crate::{
    ApiKey, EndingOwner, ProjectId, Reader, Store, StoreError, Timestamp, Tx,
    engine::{lock, row},
    repo::ending,
    sealed::random,
};

/// The rights of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Read and change certificates.
    #[serde(rename = "tls")]
    Tls,
    /// Read certificates' status.
    #[serde(rename = "tls:read")]
    TlsRead,
    /// Read, create, change and remove deployments.
    #[serde(rename = "deployments")]
    Deployments,
    /// Everything.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Tls, Self::TlsRead, Self::Deployments, Self::Admin];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::TlsRead => "tls:read",
            Self::Deployments => "deployments",
            Self::Admin => "admin",
        }
    }

    /// Reads the wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether this scope includes `wanted`.
    pub fn includes(self, wanted: Self) -> bool {
        self == Self::Admin || self == wanted || (self == Self::Tls && wanted == Self::TlsRead)
    }
}

/// The secret half: 256 random bits in hexadecimal, shown once, stored as an HMAC.
pub struct ApiSecret(pub(crate) Zeroizing<String>);

impl ApiSecret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiSecret(redacted)")
    }
}

/// An API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The public half.
    pub key: ApiKey,
    /// For people.
    pub name: String,
    /// Its scopes; never empty.
    pub scopes: Vec<Scope>,
    /// The projects it may access; `None`: all.
    pub projects: Option<Vec<ProjectId>>,
    /// Creation time.
    pub created_at: Timestamp,
    /// From then on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl ApiKeyRecord {
    /// Whether its scopes include `wanted`.
    pub fn may(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(wanted))
    }

    /// Whether it has not ended.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it may access the project.
    pub fn sees(&self, project: &ProjectId) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.contains(project))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT key, name, scopes, all_projects, digest, created_at, expires_at FROM api_key ", $rest)
    };
}

impl ApiKeyRecord {
    /// Without the projects.
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let scopes = row::text(row, "scopes")?;
        Ok(Self {
            key: ApiKey::parse(&row::text(row, "key")?).ok_or_else(|| row::unreadable("key"))?,
            name: row::text(row, "name")?,
            scopes: serde_json::from_str(&scopes).map_err(|_| row::unreadable("scopes"))?,
            projects: (row::integer(row, "all_projects")? == 0).then(Vec::new),
            created_at: Timestamp(row::integer(row, "created_at")?),
            expires_at: row::integer_or_null(row, "expires_at")?.map(Timestamp),
        })
    }
}

const DIGEST_BYTES: usize = 32;

/// Bound to the key: in another key's row it does not match.
fn digest(pepper: &hmac::Key, key: &str, secret: &str) -> hmac::Tag {
    let mut context = hmac::Context::with_key(pepper);
    context.update(key.as_bytes());
    context.update(b"\0");
    context.update(secret.as_bytes());
    context.sign()
}

/// Always one row: the key's or, if absent, the first key's. Either way one look-up misses (no key
/// is empty) and one hits. An empty table gives a dummy row.
const KEY_OR_FIRST: &str = "
    SELECT coalesce(k.key, d.key, '') AS key, coalesce(k.name, d.name, '') AS name,
           coalesce(k.scopes, d.scopes, '') AS scopes,
           coalesce(k.all_projects, d.all_projects, 0) AS all_projects,
           coalesce(k.digest, d.digest, $2) AS digest,
           coalesce(k.created_at, d.created_at, 0) AS created_at,
           CASE WHEN k.key IS NULL THEN d.expires_at ELSE k.expires_at END AS expires_at
    FROM (SELECT min(key) AS key FROM api_key) first LEFT JOIN api_key k ON k.key = $1
    LEFT JOIN api_key d ON d.key = CASE WHEN k.key IS NULL THEN first.key ELSE '' END";

impl Store {
    /// As [`Store::begin`], for a change by an API key, read and locked: its rights may have
    /// changed since the request began. `None`: it is gone.
    pub async fn begin_as(&self, key: &ApiKey) -> Result<Option<(Tx, ApiKeyRecord)>, StoreError> {
        let mut tx = self.begin().await?;
        Ok(tx.acting_key(key).await?.map(|record| (tx, record)))
    }

    /// As [`Store::begin_as`], for changes of API keys or their projects.
    pub async fn begin_on_keys_as(&self, key: &ApiKey) -> Result<Option<(Tx, ApiKeyRecord)>, StoreError> {
        let mut tx = self.begin().await?;
        tx.step(async |conn| lock::api_keys(conn).await).await?;
        Ok(tx.acting_key(key).await?.map(|record| (tx, record)))
    }

    /// The API key, if the secret matches. Unknown keys take as long.
    pub async fn authenticate(&self, key: &str, secret: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let pepper = self.inner.pepper()?;
        let found = self.read().run(async |conn| authenticate(conn, pepper, key, secret).await).await?;
        Ok(found.filter(|key| key.is_valid_at(self.inner.clock.now())))
    }
}

impl Reader {
    /// All API keys, oldest first.
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError> {
        self.run(async |conn| {
            let keys = sqlx::query(select!("ORDER BY created_at, key")).fetch_all(&mut *conn).await?;
            let mut records = keys.iter().map(ApiKeyRecord::read).collect::<Result<Vec<_>, _>>()?;
            let seen = sqlx::query("SELECT key, project FROM api_key_project ORDER BY key, project")
                .fetch_all(conn)
                .await?;
            let mut projects = std::collections::HashMap::<String, Vec<ProjectId>>::new();
            for row in &seen {
                projects.entry(row::text(row, "key")?).or_default().push(row::project_id(row, "project")?);
            }
            for record in &mut records {
                if record.projects.is_some() {
                    record.projects = Some(projects.remove(record.key.as_str()).unwrap_or_default());
                }
            }
            Ok(records)
        })
        .await
    }

    /// One API key. For changes see [`Store::begin_as`].
    pub async fn api_key(&self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.run(async |conn| find(conn, key).await).await
    }
}

impl Tx {
    /// The key, locked against changes; not after its end. Another condition that ends its rights
    /// belongs here and in [`Store::authenticate`].
    async fn acting_key(&mut self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        let now = self.now;
        self.step(async |conn| {
            // FOR KEY SHARE would not block an UPDATE of scopes.
            lock_row(conn, "SELECT key FROM api_key WHERE key = $1 FOR SHARE", key.as_str()).await?;
            Ok(find(conn, key).await?.filter(|found| found.is_valid_at(now)))
        })
        .await
    }

    /// An API key to change or remove, locked.
    pub async fn api_key(&mut self, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.step(async |conn| {
            lock::api_keys(conn).await?;
            lock_row(conn, "SELECT key FROM api_key WHERE key = $1 FOR UPDATE", key.as_str()).await?;
            find(conn, key).await
        })
        .await
    }

    /// Adds an API key with a new secret.
    pub async fn insert_api_key(
        &mut self,
        name: &str,
        scopes: &[Scope],
        projects: Option<&[ProjectId]>,
        expires_at: Option<Timestamp>,
    ) -> Result<(ApiKeyRecord, ApiSecret), StoreError> {
        let store = Arc::clone(&self.store);
        let pepper = store.pepper()?;
        let now = self.now;
        self.change(async |conn| {
            lock::api_keys(conn).await?;
            let key = ApiKey(random::name().into());
            let mut secret = Zeroizing::new(String::with_capacity(64));
            random::push_hex(&mut secret, random::key().as_slice());
            let scopes_text =
                serde_json::to_string(scopes).map_err(|_| StoreError::corrupt("scopes of a new key"))?;
            sqlx::query(
                "INSERT INTO api_key (key, name, scopes, all_projects, digest, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(key.as_str())
            .bind(row::storable(name).into_owned())
            .bind(scopes_text)
            .bind(i64::from(projects.is_none()))
            .bind(digest(pepper, key.as_str(), &secret).as_ref().to_vec())
            .bind(now.0)
            .bind(expires_at.map(|end| end.0))
            .execute(&mut *conn)
            .await?;
            for project in projects.unwrap_or_default() {
                sqlx::query(
                    "INSERT INTO api_key_project (key, project) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                )
                .bind(key.as_str())
                .bind(project.as_str())
                .execute(&mut *conn)
                .await?;
            }
            let record =
                find(conn, &key).await?.ok_or_else(|| StoreError::corrupt("a new key is missing"))?;
            Ok((record, ApiSecret(secret)))
        })
        .await
    }

    /// The number of `admin` keys without a project limit or an end. Locks: concurrent revocations
    /// must not both see a second key.
    pub async fn admin_keys(&mut self) -> Result<u64, StoreError> {
        self.step(async |conn| {
            lock::api_keys(conn).await?;
            let rows =
                sqlx::query(select!("WHERE all_projects = 1 AND expires_at IS NULL")).fetch_all(conn).await?;
            let mut admins = 0;
            for row in &rows {
                admins += u64::from(ApiKeyRecord::read(row)?.scopes.contains(&Scope::Admin));
            }
            Ok(admins)
        })
        .await
    }

    /// Removes an API key.
    pub async fn remove_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        let now = self.now;
        self.change(async |conn| {
            lock::api_keys(conn).await?;
            sqlx::query("DELETE FROM api_key WHERE key = $1").bind(key.as_str()).execute(&mut *conn).await?;
            ending::set(conn, &EndingOwner::api_key(key, None), &[], now).await
        })
        .await
    }
}

/// Always fetches and decodes one row, computes one digest and compares it in constant time: a
/// refusal's time does not show whether the key exists (`bench/run logins`).
async fn authenticate(
    conn: &mut AnyConnection,
    pepper: &hmac::Key,
    key: &str,
    secret: &str,
) -> Result<Option<ApiKeyRecord>, StoreError> {
    // No key is one digit. An invalid key costs the same.
    let key = ApiKey::parse(key).unwrap_or_else(|| ApiKey("0".into()));
    let query = sqlx::query(KEY_OR_FIRST).bind(key.as_str()).bind(vec![0; DIGEST_BYTES]);
    let row = query.fetch_one(&mut *conn).await?;
    let (found, kept) = (row::text(&row, "key")?, row::bytes(&row, "digest")?);
    let presented = digest(pepper, key.as_str(), secret);
    // In addition to the digest, which is bound to the key.
    let is_its_row = subtle::ConstantTimeEq::ct_eq(found.as_bytes(), key.as_str().as_bytes());
    let is_its_secret = subtle::ConstantTimeEq::ct_eq(presented.as_ref(), kept.as_slice());
    if bool::from(is_its_row & is_its_secret) {
        Ok(Some(with_projects(conn, ApiKeyRecord::read(&row)?).await?))
    } else {
        Ok(None)
    }
}

async fn with_projects(
    conn: &mut AnyConnection,
    mut record: ApiKeyRecord,
) -> Result<ApiKeyRecord, StoreError> {
    if let Some(projects) = &mut record.projects {
        let rows = sqlx::query("SELECT project FROM api_key_project WHERE key = $1 ORDER BY project")
            .bind(record.key.as_str())
            .fetch_all(conn)
            .await?;
        for row in &rows {
            projects.push(row::project_id(row, "project")?);
        }
    }
    Ok(record)
}

/// They are about to lose the project.
pub(crate) async fn lock_those_of_project(
    conn: &mut AnyConnection,
    project: &ProjectId,
) -> Result<(), StoreError> {
    lock::api_keys(conn).await?;
    let sql = "SELECT key FROM api_key WHERE key IN (SELECT key FROM api_key_project WHERE project = $1)
               ORDER BY key FOR UPDATE";
    lock_row(conn, sql, project.as_str()).await
}

/// Separate: the next statement sees what the lock waited for.
async fn lock_row(conn: &mut AnyConnection, sql: &'static str, bound: &str) -> Result<(), StoreError> {
    if lock::is_postgres(conn) {
        sqlx::query(sql).bind(bound).fetch_all(conn).await?;
    }
    Ok(())
}

async fn find(conn: &mut AnyConnection, key: &ApiKey) -> Result<Option<ApiKeyRecord>, StoreError> {
    let row = sqlx::query(select!("WHERE key = $1")).bind(key.as_str()).fetch_optional(&mut *conn).await?;
    match row {
        Some(row) => Ok(Some(with_projects(conn, ApiKeyRecord::read(&row)?).await?)),
        None => Ok(None),
    }
}

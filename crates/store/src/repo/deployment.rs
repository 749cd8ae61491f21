use certward_pki::{DeviceIdentity, HostName, Profile};
use sqlx::{
    Any, AnyConnection, AssertSqlSafe,
    any::{AnyArguments, AnyRow},
};

use crate::{
    CloseRate, ConnectionLimit, ConnectionLimits, Deployment, DeploymentId, DeploymentSpec, Generation,
    HostTaken, ProjectId, Proxy, ProxyProtocol, Reader, RecordBytes, RevocationMark, SessionAge, StoreError,
    Timestamp, TlsState, Tx, UpstreamList,
    engine::{lock, many_rows, row},
    model::tls_state,
    repo::{broker_trouble, ending, host, node, upstream_claim},
};

/// One statement, so deployments and hosts are of one state.
macro_rules! select {
    ($deployments:literal) => {
        concat!(
            "SELECT d.id, d.project, d.name, d.upstream, d.ws_upstream, d.profile, d.proxy_protocol, d.proxy_identity, d.connections_max, d.connection_rate_max, d.record_bytes, d.max_session_age, d.created_at, d.born, d.generation, ",
            "d.tls_state, d.tls_version, d.tls_deadline, d.tls_reason, d.revocation_mark, d.close_rate, d.close_rate_number, h.name AS host ",
            "FROM ",
            $deployments,
            " d LEFT JOIN host h ON h.deployment = d.id ORDER BY d.id, h.position"
        )
    };
}

impl Reader {
    /// One deployment.
    pub async fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        self.run(async |conn| find(conn, id).await).await
    }

    /// A project's deployments by id after `after`, at most `limit`.
    pub async fn deployments_of(
        &self,
        project: &ProjectId,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Deployment>, StoreError> {
        self.run(async |conn| {
            let sql =
                select!("(SELECT * FROM deployment WHERE project = $1 AND id > $2 ORDER BY id LIMIT $3)");
            let query = sqlx::query(sql).bind(project.as_str()).bind(after.map_or("", DeploymentId::as_str));
            collect(&query.bind(i64::from(limit)).fetch_all(conn).await?)
        })
        .await
    }

    /// Deployments by id after `after`, at most `limit`.
    pub async fn deployments_after(
        &self,
        after: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Deployment>, StoreError> {
        self.run(async |conn| {
            let sql = select!("(SELECT * FROM deployment WHERE id > $1 ORDER BY id LIMIT $2)");
            // Sorts before every id.
            let after = after.map_or("", DeploymentId::as_str);
            collect(&sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(conn).await?)
        })
        .await
    }
}

impl Tx {
    /// One deployment, locked.
    pub async fn deployment(&mut self, id: &DeploymentId) -> Result<Option<Deployment>, StoreError> {
        self.step(async |conn| {
            // Locks before reading: the read sees what the lock waited for.
            if lock::is_postgres(conn) {
                lock::nodes_stay(conn).await?;
                if !lock_row(conn, id).await? {
                    lock::absent_deployment(conn, id.as_str()).await?;
                    // The lock's owner may have made the deployment.
                    lock_row(conn, id).await?;
                }
            }
            find(conn, id).await
        })
        .await
    }

    /// Adds a deployment and claims its hosts.
    pub async fn insert_deployment(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        self.change(async |conn| {
            // Claims first: a taken host leaves no row behind.
            if let Err(taken) = host::claim(conn, deployment).await? {
                return Ok(Err(taken));
            }
            write(conn, deployment).await?;
            upstream_claim::write(conn, deployment).await?;
            Ok(Ok(()))
        })
        .await
    }

    /// Updates settings and generation (not the TLS state).
    pub async fn update_deployment(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Result<(), HostTaken>, StoreError> {
        self.change(async |conn| {
            let hosts = host::of_deployment(conn, &deployment.id).await?;
            if hosts != deployment.spec.hosts {
                if let Err(taken) = host::claim(conn, deployment).await? {
                    return Ok(Err(taken));
                }
                host::free(conn, &deployment.id).await?;
                host::write(conn, deployment).await?;
            }
            let query = sqlx::query(
                "UPDATE deployment SET generation = $2, name = $3, upstream = $4, ws_upstream = $5,
                        profile = $6, proxy_protocol = $7, proxy_identity = $8, connections_max = $9,
                        connection_rate_max = $10, record_bytes = $11, max_session_age = $12
                 WHERE id = $1",
            )
            .bind(deployment.id.as_str())
            .bind(deployment.generation.0);
            bind_spec(query, &deployment.spec).execute(&mut *conn).await?;
            upstream_claim::write(conn, deployment).await?;
            Ok(Ok(()))
        })
        .await
    }

    /// Removes a deployment with all its rows.
    pub async fn remove_deployment(&mut self, id: &DeploymentId) -> Result<(), StoreError> {
        let now = self.now;
        self.change(async |conn| remove_with_endings(conn, id, now).await).await
    }

    /// Updates TLS state and generation.
    pub async fn set_tls(
        &mut self,
        id: &DeploymentId,
        generation: Generation,
        tls: &TlsState,
    ) -> Result<(), StoreError> {
        self.change(async |conn| {
            let tls = tls_state::Columns::of(tls);
            sqlx::query(
                "UPDATE deployment SET generation = $2, tls_state = $3, tls_version = $4, tls_deadline = $5,
                                       tls_reason = $6
                 WHERE id = $1",
            )
            .bind(id.as_str())
            .bind(generation.0)
            .bind(tls.state)
            .bind(tls.version)
            .bind(tls.deadline)
            .bind(tls.reason)
            .execute(conn)
            .await?;
            Ok(())
        })
        .await
    }

    /// How fast the nodes together end the sessions that this change ends; each does its share.
    /// `None`: at once, with those that an earlier change still ends. Changes that leave it end
    /// theirs at once, and leave the others their turns.
    pub async fn set_close_rate(
        &mut self,
        id: &DeploymentId,
        rate: Option<CloseRate>,
    ) -> Result<(), StoreError> {
        self.change(async |conn| {
            let nodes = match rate {
                Some(_) => node::count(conn).await?,
                None => 0,
            };
            let sql = "UPDATE deployment SET close_rate = $2, close_rate_number = close_rate_number + 1
                       WHERE id = $1";
            sqlx::query(sql)
                .bind(id.as_str())
                .bind(CloseRate::number(rate.map(|rate| rate.shared_by(nodes))))
                .execute(conn)
                .await?;
            Ok(())
        })
        .await
    }

    /// Moves earlier deadlines to `deadline`, for a joining node.
    pub async fn extend_deadlines(&mut self, deadline: Timestamp) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query(
                "UPDATE deployment SET tls_deadline = $1 WHERE tls_state = 'pending' AND tls_deadline < $1",
            )
            .bind(deadline.0)
            .execute(conn)
            .await?;
            Ok(())
        })
        .await
    }

    /// At most `limit` pending deployments past their deadline, longest first.
    pub async fn overdue(&mut self, limit: u32) -> Result<Vec<DeploymentId>, StoreError> {
        let now = self.now;
        self.step(async |conn| {
            let rows = sqlx::query(
                "SELECT id FROM deployment WHERE tls_state = 'pending' AND tls_deadline <= $1
                 ORDER BY tls_deadline, id LIMIT $2",
            )
            .bind(now.0)
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
            rows.iter().map(|row| row::deployment_id(row, "id")).collect()
        })
        .await
    }
}

pub(crate) async fn find(
    conn: &mut AnyConnection,
    id: &DeploymentId,
) -> Result<Option<Deployment>, StoreError> {
    let sql = select!("(SELECT * FROM deployment WHERE id = $1)");
    let rows = sqlx::query(sql).bind(id.as_str()).fetch_all(conn).await?;
    Ok(collect(&rows)?.pop())
}

async fn lock_row(conn: &mut AnyConnection, id: &DeploymentId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT id FROM deployment WHERE id = $1 FOR UPDATE");
    Ok(row.bind(id.as_str()).fetch_optional(conn).await?.is_some())
}

pub(crate) async fn between(
    conn: &mut AnyConnection,
    from: &DeploymentId,
    to: &DeploymentId,
) -> Result<Vec<Deployment>, StoreError> {
    let sql = select!("(SELECT * FROM deployment WHERE id >= $1 AND id <= $2)");
    collect(&sqlx::query(sql).bind(from.as_str()).bind(to.as_str()).fetch_all(conn).await?)
}

pub(crate) async fn generations(
    conn: &mut AnyConnection,
    after: Option<&DeploymentId>,
    to: Option<&DeploymentId>,
    limit: u32,
) -> Result<Vec<(DeploymentId, Generation)>, StoreError> {
    let rows =
        sqlx::query("SELECT id, generation FROM deployment WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3")
            .bind(after.map_or("", DeploymentId::as_str))
            // Sorts after every id.
            .bind(to.map_or("~", DeploymentId::as_str))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
    rows.iter()
        .map(|row| Ok((row::deployment_id(row, "id")?, Generation(row::integer(row, "generation")?))))
        .collect()
}

/// A deployment's rows are adjacent.
fn collect(rows: &[AnyRow]) -> Result<Vec<Deployment>, StoreError> {
    let mut deployments: Vec<Deployment> = Vec::new();
    for row in rows {
        let id = row::text(row, "id")?;
        if deployments.last().is_none_or(|last| last.id.as_str() != id) {
            deployments.push(read(row)?);
        }
        if let (Some(last), Some(host)) = (deployments.last_mut(), row::text_or_null(row, "host")?) {
            last.spec.hosts.push(HostName::parse(&host).map_err(|_| row::unreadable("host"))?);
        }
    }
    Ok(deployments)
}

fn read(row: &AnyRow) -> Result<Deployment, StoreError> {
    Ok(Deployment {
        id: row::deployment_id(row, "id")?,
        project: row::project_id(row, "project")?,
        spec: spec(row)?,
        created_at: Timestamp(row::integer(row, "created_at")?),
        born: Generation(row::integer(row, "born")?),
        generation: Generation(row::integer(row, "generation")?),
        tls: tls_state::read(row)?,
        revocations: revocation_mark(row)?,
        close_rate: CloseRate::parse(row::integer(row, "close_rate")?)
            .map_err(|_| row::unreadable("close_rate"))?,
        close_rate_number: row::integer(row, "close_rate_number")?,
    })
}

fn revocation_mark(row: &AnyRow) -> Result<RevocationMark, StoreError> {
    let bytes = row::bytes_or_null(row, "revocation_mark")?;
    let mark = bytes.map(|bytes| bytes.try_into().map(RevocationMark)).transpose();
    Ok(mark.map_err(|_| row::unreadable("revocation_mark"))?.unwrap_or_default())
}

/// Adds to the mark of a locked deployment what is random of revocations or CRLs, or takes it away.
/// `listed`: how many more revocations it has.
pub(crate) async fn change_mark(
    conn: &mut AnyConnection,
    id: &DeploymentId,
    random: impl IntoIterator<Item = [u8; 16]>,
    listed: i64,
) -> Result<(), StoreError> {
    let before = mark(conn, id).await?.unwrap_or_default();
    let mark = random.into_iter().fold(before, |mark, bytes| mark ^ bytes);
    sqlx::query(
        "UPDATE deployment SET revocation_mark = $2, revocation_count = revocation_count + $3 WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(stored_mark(mark))
    .bind(listed)
    .execute(conn)
    .await?;
    Ok(())
}

/// `None`: there is no deployment.
pub(crate) async fn mark(
    conn: &mut AnyConnection,
    id: &DeploymentId,
) -> Result<Option<RevocationMark>, StoreError> {
    let query = sqlx::query("SELECT revocation_mark FROM deployment WHERE id = $1").bind(id.as_str());
    query.fetch_optional(conn).await?.as_ref().map(revocation_mark).transpose()
}

/// Deployments with revocations or CRLs by id, after `after`; at most `limit`.
pub(crate) async fn marked_after(
    conn: &mut AnyConnection,
    after: Option<&DeploymentId>,
    limit: usize,
) -> Result<Vec<MarkedDeployment>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, generation, revocation_mark FROM deployment WHERE revocation_mark IS NOT NULL AND id > $1
         ORDER BY id LIMIT $2",
    )
    .bind(after.map_or("", DeploymentId::as_str))
    .bind(row::bound(limit as u64))
    .fetch_all(conn)
    .await?;
    rows.iter().map(MarkedDeployment::read).collect()
}

/// Those of these ids that there are.
pub(crate) async fn marks_of(
    conn: &mut AnyConnection,
    ids: &[DeploymentId],
) -> Result<Vec<MarkedDeployment>, StoreError> {
    let listed = many_rows::places(1, ids.len());
    let sql = format!("SELECT id, generation, revocation_mark FROM deployment WHERE id IN ({listed})");
    // Safe: numbers.
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let rows = ids.iter().fold(query, |query, id| query.bind(id.as_str())).fetch_all(conn).await?;
    rows.iter().map(MarkedDeployment::read).collect()
}

/// A change of a deployment, and its revocations and CRLs then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkedDeployment {
    pub(crate) id: DeploymentId,
    pub(crate) generation: Generation,
    pub(crate) mark: RevocationMark,
}

impl MarkedDeployment {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row::deployment_id(row, "id")?,
            generation: Generation(row::integer(row, "generation")?),
            mark: revocation_mark(row)?,
        })
    }
}

fn stored_mark(mark: RevocationMark) -> Option<Vec<u8>> {
    (!mark.is_empty()).then(|| mark.0.to_vec())
}

/// Without the hosts.
fn spec(row: &AnyRow) -> Result<DeploymentSpec, StoreError> {
    let upstream = |text: String, column| UpstreamList::parse(&text).map_err(|_| row::unreadable(column));
    Ok(DeploymentSpec {
        name: row::text(row, "name")?,
        upstream: upstream(row::text(row, "upstream")?, "upstream")?,
        ws_upstream: row::text_or_null(row, "ws_upstream")?
            .map(|text| upstream(text, "ws_upstream"))
            .transpose()?,
        hosts: Vec::new(),
        profile: Profile::parse(&row::text(row, "profile")?).ok_or_else(|| row::unreadable("profile"))?,
        proxy: proxy(row)?,
        limits: limits(row)?,
        record_bytes: RecordBytes::parse(row::integer(row, "record_bytes")?)
            .map_err(|_| row::unreadable("record_bytes"))?,
        max_session_age: SessionAge::parse(row::integer(row, "max_session_age")?)
            .map_err(|_| row::unreadable("max_session_age"))?,
    })
}

fn proxy(row: &AnyRow) -> Result<Proxy, StoreError> {
    let protocol = ProxyProtocol::parse(&row::text(row, "proxy_protocol")?);
    let identity = DeviceIdentity::parse(&row::text(row, "proxy_identity")?);
    Ok(Proxy {
        protocol: protocol.ok_or_else(|| row::unreadable("proxy_protocol"))?,
        identity: identity.ok_or_else(|| row::unreadable("proxy_identity"))?,
    })
}

fn limits(row: &AnyRow) -> Result<ConnectionLimits, StoreError> {
    let limit =
        |column| ConnectionLimit::parse(row::integer(row, column)?).map_err(|_| row::unreadable(column));
    Ok(ConnectionLimits { at_once: limit("connections_max")?, per_second: limit("connection_rate_max")? })
}

/// The columns of a row that [`write`] sets.
macro_rules! insert {
    ($on_conflict:literal) => {
        concat!(
            "INSERT INTO deployment (id, project, created_at, born, generation, tls_state, tls_version, tls_deadline, ",
            "tls_reason, revocation_mark, close_rate, name, upstream, ws_upstream, profile, proxy_protocol, ",
            "proxy_identity, connections_max, connection_rate_max, record_bytes, max_session_age) ",
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
            $on_conflict
        )
    };
}

/// For claimed hosts.
pub(crate) async fn write(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    write_with(conn, insert!(""), deployment).await
}

/// As [`write`], in place of a row without hosts: what else refers to it stays.
pub(crate) async fn write_over(conn: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    let sql = insert!(
        " ON CONFLICT (id) DO UPDATE SET project = excluded.project, created_at = excluded.created_at,
            born = excluded.born, generation = excluded.generation, tls_state = excluded.tls_state,
            tls_version = excluded.tls_version, tls_deadline = excluded.tls_deadline,
            tls_reason = excluded.tls_reason, revocation_mark = excluded.revocation_mark,
            close_rate = excluded.close_rate, name = excluded.name, upstream = excluded.upstream,
            ws_upstream = excluded.ws_upstream, profile = excluded.profile,
            proxy_protocol = excluded.proxy_protocol, proxy_identity = excluded.proxy_identity,
            connections_max = excluded.connections_max, connection_rate_max = excluded.connection_rate_max,
            record_bytes = excluded.record_bytes, max_session_age = excluded.max_session_age"
    );
    write_with(conn, sql, deployment).await
}

async fn write_with(
    conn: &mut AnyConnection,
    sql: &'static str,
    deployment: &Deployment,
) -> Result<(), StoreError> {
    let tls = tls_state::Columns::of(&deployment.tls);
    let query = sqlx::query(sql)
        .bind(deployment.id.as_str())
        .bind(deployment.project.as_str())
        .bind(deployment.created_at.0)
        .bind(deployment.born.0)
        .bind(deployment.generation.0)
        .bind(tls.state)
        .bind(tls.version)
        .bind(tls.deadline)
        .bind(tls.reason)
        .bind(stored_mark(deployment.revocations))
        .bind(CloseRate::number(deployment.close_rate));
    bind_spec(query, &deployment.spec).execute(&mut *conn).await?;
    host::write(conn, deployment).await
}

type Query<'q> = sqlx::query::Query<'q, Any, AnyArguments>;

/// The last parameters of a statement.
fn bind_spec<'q>(query: Query<'q>, spec: &DeploymentSpec) -> Query<'q> {
    // In rows of their own: `host::write`.
    let DeploymentSpec {
        hosts: _,
        name,
        upstream,
        ws_upstream,
        profile,
        proxy,
        limits,
        record_bytes,
        max_session_age,
    } = spec;
    query
        .bind(row::storable(name).into_owned())
        .bind(upstream.to_string())
        .bind(ws_upstream.as_ref().map(UpstreamList::to_string))
        .bind(profile.as_str())
        .bind(proxy.protocol.as_str())
        .bind(proxy.identity.as_str())
        .bind(ConnectionLimit::number(limits.at_once))
        .bind(ConnectionLimit::number(limits.per_second))
        .bind(i64::from(record_bytes.get()))
        .bind(SessionAge::number(*max_session_age))
}

async fn remove_with_endings(
    conn: &mut AnyConnection,
    id: &DeploymentId,
    now: Timestamp,
) -> Result<(), StoreError> {
    remove(conn, id).await?;
    // After the row: a task that is listing it has ended, and the next one does not find it.
    ending::remove_deployment(conn, id, now).await
}

pub(crate) async fn remove(conn: &mut AnyConnection, id: &DeploymentId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM node_count WHERE deployment = $1").bind(id.as_str()).execute(&mut *conn).await?;
    broker_trouble::remove_of(conn, id).await?;
    remove_row(conn, id).await
}

/// Cascades to hosts, versions, sealed keys, devices, revocations and CRLs.
pub(crate) async fn remove_row(conn: &mut AnyConnection, id: &DeploymentId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM deployment WHERE id = $1").bind(id.as_str()).execute(conn).await?;
    Ok(())
}

use sqlx::AnyConnection;

use crate::{
    StoreError,
    engine::{lock, row},
};

/// PostgreSQL settings that can lose acknowledged changes. Sessions set `synchronous_commit`
/// themselves.
pub(crate) async fn risks(conn: &mut AnyConnection) -> Result<Vec<&'static str>, StoreError> {
    if !lock::is_postgres(conn) {
        return Ok(Vec::new());
    }
    let settings = sqlx::query(
        "SELECT (current_setting('fsync') = 'off')::int::bigint AS no_fsync,
                (current_setting('full_page_writes') = 'off')::int::bigint AS no_full_pages,
                (current_setting('synchronous_standby_names') = '')::int::bigint AS asynchronous,
                (SELECT count(*) FROM pg_stat_replication) AS standbys",
    )
    .fetch_one(conn)
    .await?;
    let is = |name| Ok::<_, StoreError>(row::integer(&settings, name)? != 0);
    let risks = [
        (
            is("no_fsync")?,
            "the database runs with fsync = off: a power loss can take changes that were acknowledged, or the whole database; \
             set fsync = on",
        ),
        (
            is("no_full_pages")?,
            "the database runs with full_page_writes = off: a power loss can damage it; set full_page_writes = on",
        ),
        (
            is("asynchronous")? && is("standbys")?,
            "the database has a standby that is not waited for: a fail-over to it can lose changes that were acknowledged; \
             set synchronous_standby_names",
        ),
    ];
    Ok(risks.into_iter().filter(|(there, _)| *there).map(|(_, risk)| risk).collect())
}

#[cfg(test)]
mod tests {
    use certward_test_support::PostgresServer;
    use sqlx::{Connection, Row};

    use super::*;
    use crate::{Address, Servers, engine::pool::Engine};

    async fn risks_of(url: &str) -> String {
        sqlx::any::install_default_drivers();
        let mut conn = AnyConnection::connect(url).await.expect("connected");
        risks(&mut conn).await.expect("asked").join("\n")
    }

    #[tokio::test]
    async fn what_could_lose_an_acknowledged_change_is_named_with_its_remedy() {
        let careless = PostgresServer::shared();
        let text = risks_of(&careless.database()).await;
        assert!(text.contains("set fsync = on") && !text.contains("standby"), "{text}");
        assert_eq!(risks_of(&PostgresServer::start_durable().database()).await, "");
        assert_eq!(risks_of("sqlite::memory:").await, "");
    }

    #[tokio::test]
    async fn a_standby_that_is_not_waited_for_is_a_risk() {
        let primary = PostgresServer::start_on_tcp();
        let database = primary.database();
        let database = primary.tcp_url(database.rsplit('/').next().expect("a name"));
        let _standby = primary.start_synchronous_standby();
        assert!(!risks_of(&database).await.contains("standby"));
        primary.query("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
        primary.query("postgres", "SELECT pg_reload_conf()");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !risks_of(&database).await.contains("set synchronous_standby_names") {
            assert!(std::time::Instant::now() < deadline, "not named");
        }
    }

    #[tokio::test]
    async fn a_session_waits_for_the_disk_whatever_the_database_and_the_role_say() {
        let server = PostgresServer::shared();
        let url = server.database();
        let name = url.rsplit('/').next().expect("a name");
        server.query("postgres", &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
        server.query(
            "postgres",
            &format!("ALTER ROLE certward IN DATABASE {name} SET synchronous_commit = local"),
        );
        let address = Address::Postgres(Servers::parse([&url]).expect("a URL"));
        let engine = Engine::open(&address, false).await.expect("opened");
        let mut conn = engine.read().await.expect("a connection");
        let row = sqlx::query("SHOW synchronous_commit").fetch_one(&mut *conn).await.expect("asked");
        assert_eq!(row.get::<String, _>(0), "on");
    }
}

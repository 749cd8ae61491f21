//! Alert channels: where alerts of a project, or of all, go.

use std::sync::Arc;

use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    AlertReceiver, ChannelId, MasterKeyRing, ProjectId, Reader, StoreError, Timestamp, Tx,
    engine::{lock, row},
    repo::alert_delivery,
    sealed::{sealing::RecordPlace, secret},
};

/// An alert channel.
#[derive(Debug, Clone)]
pub struct AlertChannel {
    /// Its id.
    pub id: ChannelId,
    /// Whose alerts; `None`: those of all projects and the operator's.
    pub project: Option<ProjectId>,
    /// For people.
    pub name: String,
    /// Where to.
    pub receiver: AlertReceiver,
    /// Creation time.
    pub created_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, project, name, sealed, created_at FROM alert_channel ", $rest)
    };
}

fn place(id: &ChannelId) -> RecordPlace<'_> {
    RecordPlace { table: "alert_channel", row: id.as_str(), version: 0 }
}

impl AlertChannel {
    fn read(row: &AnyRow, keys: &MasterKeyRing) -> Result<Self, StoreError> {
        let id = ChannelId::parse(&row::text(row, "id")?).map_err(|_| row::unreadable("id"))?;
        let opened = keys.open(place(&id), &row::bytes(row, "sealed")?)?;
        let project = row::text_or_null(row, "project")?;
        let project = project.map(|project| ProjectId::parse(&project)).transpose();
        Ok(Self {
            project: project.map_err(|_| row::unreadable("project"))?,
            name: row::text(row, "name")?,
            receiver: AlertReceiver::from_bytes(&opened).ok_or_else(|| row::unreadable("sealed"))?,
            created_at: Timestamp(row::integer(row, "created_at")?),
            id,
        })
    }
}

impl Reader {
    /// All channels, oldest first; one that does not open is logged and left out.
    pub async fn alert_channels(&self) -> Result<Vec<AlertChannel>, StoreError> {
        let keys = &self.keys;
        self.run(async |conn| {
            let rows = sqlx::query(select!("ORDER BY created_at, id")).fetch_all(conn).await?;
            let mut channels = Vec::with_capacity(rows.len());
            for row in &rows {
                match AlertChannel::read(row, keys) {
                    Ok(channel) => channels.push(channel),
                    Err(error) => tracing::error!("an alert channel is left out: {error}"),
                }
            }
            Ok(channels)
        })
        .await
    }

    /// One channel.
    ///
    /// # Errors
    /// Also [`StoreError::Sealed`].
    pub async fn alert_channel(&self, id: &ChannelId) -> Result<Option<AlertChannel>, StoreError> {
        let keys = &self.keys;
        self.run(async |conn| find(conn, keys, id).await).await
    }
}

impl Tx {
    /// A channel.
    pub async fn alert_channel(&mut self, id: &ChannelId) -> Result<Option<AlertChannel>, StoreError> {
        let store = Arc::clone(&self.store);
        self.step(async |conn| find(conn, &store.keys, id).await).await
    }

    /// How many channels a project has; `None`: the operator.
    pub async fn count_alert_channels(&mut self, project: Option<&ProjectId>) -> Result<u64, StoreError> {
        self.step(async |conn| {
            let row = sqlx::query("SELECT count(*) AS n FROM alert_channel WHERE coalesce(project, '') = $1")
                .bind(project.map_or("", ProjectId::as_str))
                .fetch_one(conn)
                .await?;
            u64::try_from(row::integer(&row, "n")?).map_err(|_| row::unreadable("n"))
        })
        .await
    }

    /// Adds a channel with a new id. It receives the newest alert of each certificate that applies
    /// still, at most 100.
    pub async fn insert_alert_channel(&mut self, channel: &AlertChannel) -> Result<(), StoreError> {
        let (store, now) = (Arc::clone(&self.store), self.now);
        self.step(async |conn| {
            lock::expiry(conn).await?;
            let sealer = secret::sealer(conn, &store.keys).await?;
            let sealed = sealer.seal(place(&channel.id), &channel.receiver.to_bytes()?)?;
            sqlx::query(
                "INSERT INTO alert_channel (id, project, name, sealed, created_at) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(channel.id.as_str())
            .bind(channel.project.as_ref().map(|project| project.as_str().to_owned()))
            .bind(row::storable(&channel.name).into_owned())
            .bind(sealed)
            .bind(channel.created_at.0)
            .execute(&mut *conn)
            .await?;
            alert_delivery::insert_newest(conn, &channel.id, channel.project.as_ref(), now).await
        })
        .await
    }

    /// Removes a channel with its deliveries.
    pub async fn remove_alert_channel(&mut self, id: &ChannelId) -> Result<(), StoreError> {
        self.step(async |conn| {
            sqlx::query("DELETE FROM alert_channel WHERE id = $1").bind(id.as_str()).execute(conn).await?;
            Ok(())
        })
        .await
    }
}

async fn find(
    conn: &mut AnyConnection,
    keys: &MasterKeyRing,
    id: &ChannelId,
) -> Result<Option<AlertChannel>, StoreError> {
    let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.map(|row| AlertChannel::read(&row, keys)).transpose()
}
